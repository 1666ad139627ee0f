//! Redis, and its small client.

use registry_testkit::redis::{Redis, RedisClient};

#[tokio::test]
async fn redis_answers_and_forgets_when_it_is_restarted() {
    let mut redis = Redis::start().await.unwrap();
    let mut client = RedisClient::connect(redis.address()).await.unwrap();
    assert_eq!(client.command(&["PING"]).await.unwrap().as_deref(), Some("PONG"));
    assert_eq!(
        client.command(&["SET", "a", "1 2"]).await.unwrap().as_deref(),
        Some("OK")
    );
    assert_eq!(
        client.command(&["GET", "a"]).await.unwrap().as_deref(),
        Some("1 2")
    );
    assert_eq!(
        client.command(&["STRLEN", "a"]).await.unwrap().as_deref(),
        Some("3")
    );
    let refused = client.command(&["NONE"]).await.unwrap_err();
    assert!(format!("{refused:?}").contains("unknown command"), "{refused:?}");

    redis.restart().await.unwrap();
    let mut client = RedisClient::connect(redis.address()).await.unwrap();
    assert_eq!(client.command(&["GET", "a"]).await.unwrap(), None);
}
