//! What concerns all connections at once: black hole, reset, refusal.

use super::*;

#[tokio::test]
async fn a_black_hole_closes_nothing_and_loses_nothing() {
    let (mut upstream, proxy) = start().await;
    let mut idle = connect(proxy.addr()).await;
    get(&mut idle, "/n").await;
    let mut waiting = connect(proxy.addr()).await;
    ask(&mut waiting, "/park-a-while").await;
    upstream.wait_for_parked(1).await;

    proxy.black_hole(true);
    ask(&mut idle, "/n").await;
    let mut new = connect(proxy.addr()).await;
    ask(&mut new, "/n").await;
    soon(proxy.wait_for_open(3)).await;
    upstream.wait_for_parked(0).await;
    assert_silent(&mut waiting).await;
    assert_silent(&mut idle).await;
    assert_silent(&mut new).await;
    assert_eq!(proxy.requests_total(), 2, "neither request has passed");
    assert_eq!(*upstream.accepted.borrow(), 2, "nor the new connection");

    let impatient = connect(proxy.addr()).await;
    soon(proxy.wait_for_open(4)).await;
    drop(impatient);
    soon(proxy.wait_for_open(3)).await;

    proxy.black_hole(false);
    assert_eq!(answer(&mut waiting).await.1, "answer after a while");
    answer(&mut idle).await;
    answer(&mut new).await;
}

#[tokio::test]
async fn a_black_hole_hides_the_end_of_the_server() {
    let (upstream, proxy) = start().await;
    let mut client = connect(proxy.addr()).await;
    get(&mut client, "/n").await;
    proxy.black_hole(true);
    drop(upstream);
    assert_silent(&mut client).await;
    proxy.black_hole(false);
    assert_closed(&mut client).await;
}

#[tokio::test]
async fn a_black_hole_acts_in_the_middle_of_a_large_answer() {
    let (_upstream, proxy) = start().await;
    let mut client = connect(proxy.addr()).await;
    ask(&mut client, "/large").await;
    soon(read_head(&mut client)).await.unwrap();
    proxy.black_hole(true);
    // What the kernel has buffered still arrives; then it stops short of the end.
    let mut received = 0;
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read) = timeout(A_WHILE, client.read(&mut buffer)).await {
        received += read.unwrap();
    }
    assert!(received < LARGE, "{received}");
    proxy.black_hole(false);
    while received < LARGE {
        received += soon(client.read(&mut buffer)).await.unwrap();
    }
    assert_eq!(get(&mut client, "/n").await, "answer 1");
}

#[tokio::test]
async fn reset_all_resets_idle_and_parked_connections() {
    let (mut upstream, proxy) = start().await;
    let mut idle = connect(proxy.addr()).await;
    get(&mut idle, "/n").await;
    let mut parked = connect(proxy.addr()).await;
    ask(&mut parked, "/park").await;
    upstream.wait_for_parked(1).await;

    proxy.reset_all();
    assert_reset(&mut idle).await;
    assert_reset(&mut parked).await;
    soon(proxy.wait_for_open(0)).await;
    upstream.wait_for_parked(0).await;
    assert_eq!(get(&mut connect(proxy.addr()).await, "/n").await, "answer 2");
    soon(proxy.wait_for_open(0)).await;

    proxy.black_hole(true);
    let mut lost = connect(proxy.addr()).await;
    soon(proxy.wait_for_open(1)).await;
    proxy.reset_all();
    assert_reset(&mut lost).await;
}

#[tokio::test]
async fn refusal_resets_new_connections_only() {
    let (_upstream, proxy) = start().await;
    let mut old = connect(proxy.addr()).await;
    get(&mut old, "/n").await;
    proxy.refuse(true);
    let mut refused = connect(proxy.addr()).await;
    assert_reset(&mut refused).await;
    assert_eq!(get(&mut old, "/n").await, "answer 2");
    proxy.refuse(false);
    assert_eq!(get(&mut connect(proxy.addr()).await, "/n").await, "answer 3");
    assert_eq!((proxy.connections_total(), proxy.connections_max()), (3, 2));
}
