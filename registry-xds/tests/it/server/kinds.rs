//! Acceptance tests 1 and 15: each kind of server is reached through an Envoy that was told nothing but where this server
//! is.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use registry_testkit::grpc::{Call, GrpcClient, GrpcServer};
use registry_testkit::redis::{Redis, RedisClient};
use registry_testkit::upstream::client::MongoForm;
use registry_testkit::upstream::{Authority, Kind, Upstream, client};
use registry_xds::{LocalPort, XdsConfig};

use super::stage::{Service, Stage, VARIANTS, assert_content, free_port, local, virtual_address};

/// One of each kind.
struct Behind {
    web: Upstream,
    chat: Upstream,
    lines: Upstream,
    books: Upstream,
    safe: [Upstream; 2],
    authority: Authority,
    redis: Redis,
    hello: GrpcServer,
    grpc: GrpcClient,
}

impl Behind {
    async fn start() -> Self {
        let authority = Authority::new().unwrap();
        let safe = async |name: &str| {
            let identity = authority.issue(&[&format!("{name}.static")]).unwrap();
            Upstream::start(name, Kind::Tls(identity)).await.unwrap()
        };
        Self {
            web: Upstream::start("web-1", Kind::Http).await.unwrap(),
            chat: Upstream::start("chat-1", Kind::WebSocket).await.unwrap(),
            lines: Upstream::start("lines-1", Kind::Tcp).await.unwrap(),
            books: Upstream::start("books-1", Kind::Mongo).await.unwrap(),
            safe: [safe("safe").await, safe("vault").await],
            authority,
            redis: Redis::start().await.unwrap(),
            hello: GrpcServer::start("hello-1").await.unwrap(),
            grpc: GrpcClient::start(None, &[]).await.unwrap(),
        }
    }
}

#[tokio::test]
async fn acceptance_1_and_15_every_kind_of_server_is_reached_through_envoy() {
    let mut behind = Behind::start().await;
    for variant in VARIANTS {
        let vip = virtual_address(1);
        let configured = [free_port(), free_port()];
        let said = free_port();
        let number = free_port();
        let records = [
            Service::new("web", "http", 80).on(behind.web.address()),
            Service::new("hello", "grpc", 50_051).on(behind.hello.address()),
            Service::new("chat", "http", 80).on(behind.chat.address()),
            Service::new("lines", "tcp", number)
                .at(vip)
                .on(behind.lines.address()),
            Service::new("lines-configured", "tcp", 7).on(behind.lines.address()),
            Service::new("lines-said", "tcp", 7)
                .label("registryd.local_port", &said.to_string())
                .on(behind.lines.address()),
            Service::new("books", "mongo", 27_017).on(behind.books.address()),
            Service::new("cache", "redis", 6_379)
                .at(vip)
                .on(behind.redis.address()),
            Service::new("safe", "tls", 8_443)
                .at(virtual_address(2))
                .on(behind.safe[0].address()),
            Service::new("vault", "tls", 8_443)
                .at(virtual_address(2))
                .on(behind.safe[1].address()),
        ];
        let config = XdsConfig {
            local_ports: BTreeMap::from([
                (
                    "lines-configured.static".to_owned(),
                    LocalPort::Port(configured[0]),
                ),
                ("books.static:27017".to_owned(), LocalPort::Port(configured[1])),
            ]),
            ..XdsConfig::default()
        };
        let stage = Stage::set(records.map(Service::record), config).await;
        let envoy = stage.envoy(variant).await;

        let shared = stage.outbound;
        for host in ["web.static", "web.static:80", "WEB.static"] {
            let answer = client::http(shared, host, "/").await.unwrap();
            assert_eq!((answer.status, answer.body.as_str()), (200, "web-1"), "{host}");
        }
        let answer = client::http2(shared, "web.static", "/").await.unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "web-1"));
        assert_eq!(
            client::http(shared, "nobody.static", "/").await.unwrap().status,
            404
        );

        let call = Call {
            authority: Some("hello.static:50051".to_owned()),
            ..Call::to(shared.to_string())
        };
        let answer = behind.grpc.call(&call).await.unwrap();
        assert_eq!(
            (answer.code.as_str(), answer.server.as_deref()),
            ("OK", Some("hello-1")),
            "{answer:?}"
        );
        let streamed = behind.grpc.stream(&call, 3).await.unwrap();
        assert_eq!(streamed.messages, ["hello-1"; 3], "{streamed:?}");

        let echo = client::websocket(shared, "chat.static", "/", "hear me")
            .await
            .unwrap();
        assert_eq!(echo, "chat-1 hear me");

        let at_vip = SocketAddr::from((vip, number));
        for address in [at_vip, local(configured[0]), local(said)] {
            assert_eq!(
                client::tcp(address, "hear me").await.unwrap(),
                "lines-1",
                "{address}"
            );
        }

        for form in [MongoForm::Query, MongoForm::Message] {
            let said = client::mongo(local(configured[1]), form, "ping").await.unwrap();
            assert!(said.contains("books-1"), "{said}");
        }
        // The names of statistics are those of the cluster, without its dots.
        let stats = envoy.stats(r"^mongo\.").await.unwrap();
        let stat = |name: &str| {
            stats
                .get(&format!("mongo.outbound|27017||books_static.{name}"))
                .copied()
        };
        // Envoy counts the old form alone. It does not know the new one, and passes it on unread.
        assert_eq!(
            (stat("op_query"), stat("op_reply")),
            (Some(1), Some(1)),
            "{stats:?}"
        );

        let mut redis = RedisClient::connect((vip, 6_379).into()).await.unwrap();
        assert_eq!(redis.command(&["PING"]).await.unwrap().as_deref(), Some("PONG"));
        redis.command(&["SET", "who", "redis-1"]).await.unwrap();
        assert_eq!(
            redis.command(&["GET", "who"]).await.unwrap().as_deref(),
            Some("redis-1")
        );
        let stats = envoy.stats(r"^redis\.").await.unwrap();
        let stat = |name: &str| {
            stats
                .get(&format!("redis.outbound|6379||cache_static.{name}"))
                .copied()
        };
        assert_eq!(stat("downstream_rq_total"), Some(3), "{stats:?}");
        assert_eq!(
            (stat("command.set.success"), stat("command.get.success")),
            (Some(1), Some(1)),
            "{stats:?}"
        );

        let secure = SocketAddr::from((virtual_address(2), 8_443));
        for name in ["safe", "vault"] {
            let host = format!("{name}.static");
            let said = client::tls(secure, &host, &behind.authority, "hear me")
                .await
                .unwrap();
            assert_eq!(said, format!("{name} {host}"));
        }
        assert!(
            client::tls(secure, "other.static", &behind.authority, "hear me")
                .await
                .is_err()
        );

        assert_content(&envoy).await;
        stage.settled().await;
        stage.assert_nothing_refused();
        drop(envoy);
        stage.end().await;
    }
}
