//! Several base URLs: moving on, staying, resting.

use registry_http::{FailOver, HttpClient, HttpConfig, Request};

use crate::local::{answer, client_of, hold, refused, serve, serve_raw};

fn of(urls: &[String]) -> HttpClient {
    client_of(
        &urls.iter().map(String::as_str).collect::<Vec<_>>(),
        HttpConfig::default(),
    )
}

#[tokio::test]
async fn a_dead_server_is_left_for_the_next_within_one_request() {
    let alive = serve(|_| async { answer(200, "alive") }).await;
    let client = of(&[refused().await, refused().await, alive.url()]);
    let got = client.send(&Request::get("/")).await.unwrap();
    assert_eq!((got.base(), got.body().as_ref()), (2, &b"alive"[..]));
    assert_eq!(client.current_base(), 2);
    // How long they rest is no affair of a clock that goes on: it may be over already.
    let bases = client.bases();
    assert!(bases[2].current, "{bases:?}");
    let failures: Vec<u32> = bases.iter().map(|base| base.failures).collect();
    assert_eq!(failures, [1, 1, 0]);
}

#[tokio::test]
async fn the_client_stays_with_the_server_it_moved_to() {
    let first = serve(|_| async { answer(200, "first") }).await;
    let second = serve(|_| async { answer(200, "second") }).await;
    let client = of(&[first.url(), second.url()]);
    assert_eq!(client.send(&Request::get("/")).await.unwrap().base(), 0);
    assert_eq!(client.fail_over(0), 1);
    assert_eq!(client.fail_over(0), 1, "who is late moves nothing");
    for _ in 0..3 {
        assert_eq!(client.send(&Request::get("/")).await.unwrap().base(), 1);
    }
    // The second dies; the first has not rested long, but is all there is.
    drop(second);
    assert_eq!(
        client
            .send(&Request::get("/").with_fail_over(FailOver::always()))
            .await
            .unwrap()
            .base(),
        0
    );
}

#[tokio::test]
async fn server_errors_move_on_only_when_the_request_says_so() {
    let failing = serve(|_| async { answer(500, "no leader") }).await;
    let alive = serve(|_| async { answer(200, "alive") }).await;
    let client = of(&[failing.url(), alive.url()]);
    assert_eq!(
        client.send(&Request::get("/")).await.unwrap().status().as_u16(),
        500
    );
    assert_eq!(client.current_base(), 0);
    let elsewhere = Request::get("/").with_fail_over(FailOver::always());
    assert_eq!(client.send(&elsewhere).await.unwrap().body().as_ref(), b"alive");
    assert_eq!(client.current_base(), 1);
}

#[tokio::test]
async fn when_all_fail_the_last_answer_is_given() {
    let one = serve(|_| async { answer(500, "one") }).await;
    let two = serve(|_| async { answer(503, "two") }).await;
    let client = of(&[one.url(), two.url()]);
    let got = client
        .send(&Request::get("/").with_fail_over(FailOver::always()))
        .await
        .unwrap();
    assert_eq!(got.error_text(), "two");
    assert_eq!((one.connections.total(), two.connections.total()), (1, 1));
}

#[tokio::test]
async fn a_timeout_moves_the_next_request() {
    let hanging = serve_raw(hold).await;
    let alive = serve(|_| async { answer(200, "alive") }).await;
    let client = of(&[hanging.url(), alive.url()]);
    let mut request = Request::get("/").with_deadline(std::time::Duration::from_millis(200));
    assert_eq!(client.send(&request).await.unwrap_err().kind(), "timeout");
    assert_eq!(client.current_base(), 0);
    request = request.with_fail_over(FailOver::always());
    assert_eq!(client.send(&request).await.unwrap_err().kind(), "timeout");
    assert_eq!(client.send(&Request::get("/")).await.unwrap().base(), 1);
}

#[tokio::test]
async fn a_server_that_is_asked_by_its_number_is_asked_alone() {
    let first = serve(|_| async { answer(200, "first") }).await;
    let second = serve(|_| async { answer(500, "second") }).await;
    let client = of(&[first.url(), second.url(), refused().await]);
    let request = Request::get("/").with_fail_over(FailOver::always());
    let got = client.send_to(1, &request).await.unwrap();
    assert_eq!((got.base(), got.status().as_u16()), (1, 500));
    let error = client.send_to(2, &request).await.unwrap_err();
    assert_eq!(error.kind(), "connect");
    assert_eq!(client.send_to(3, &request).await.unwrap_err().kind(), "config");
    // Neither failure is held against anybody, and neither answer for anybody: the caller says what they are worth.
    assert_eq!(client.current_base(), 0);
    assert!(client.bases().iter().all(|base| base.failures == 0));
    client.fail_over(1);
    assert_eq!(client.send_to(1, &request).await.unwrap().base(), 1);
    assert_eq!(client.bases()[1].failures, 1, "an answer alone is no success");
    client.settle_on(1);
    assert_eq!((client.current_base(), client.bases()[1].failures), (1, 0));
}
