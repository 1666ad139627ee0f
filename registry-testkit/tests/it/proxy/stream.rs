//! Answers without an end in sight: what the server says passes at once, faults strike in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";

/// A watch through the proxy: the client, and the server's side of it.
struct Watch {
    client: TcpStream,
    server: TcpStream,
    /// Read by the client, but not asked for yet.
    unread: String,
}

impl Watch {
    /// What the server says next, in a chunk of its own.
    async fn say(&mut self, text: &str) {
        let chunk = format!("{:x}\r\n{text}\r\n", text.len());
        soon(self.server.write_all(chunk.as_bytes())).await.unwrap();
    }

    /// Reads from the body until there is so much, and asserts what it is.
    async fn hears(&mut self, text: &str) {
        while self.unread.len() < text.len() {
            let mut line = String::new();
            while !line.ends_with("\r\n") {
                line.push(char::from(soon(self.client.read_u8()).await.unwrap()));
            }
            let mut chunk = vec![0; usize::from_str_radix(line.trim(), 16).unwrap() + 2];
            soon(self.client.read_exact(&mut chunk)).await.unwrap();
            chunk.truncate(chunk.len() - 2);
            self.unread.push_str(&String::from_utf8(chunk).unwrap());
        }
        assert_eq!(self.unread, text);
        self.unread.clear();
    }

    /// Each line passes before the next one is said.
    async fn works(&mut self) {
        for line in ["works\n", "on\n"] {
            self.say(line).await;
            self.hears(line).await;
        }
    }
}

/// A server that says what a test lets it say.
struct Server {
    listener: TcpListener,
    proxy: FaultProxy,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = FaultProxy::start(listener.local_addr().unwrap()).await.unwrap();
        Self { listener, proxy }
    }

    /// A client asks, the server reads it; nothing is answered yet.
    async fn asked(&self, target: &str) -> Watch {
        let mut client = connect(self.proxy.addr()).await;
        let (mut server, _) = soon(self.listener.accept()).await.unwrap();
        ask(&mut client, target).await;
        soon(read_head(&mut server)).await.unwrap();
        Watch {
            client,
            server,
            unread: String::new(),
        }
    }

    /// A watch under way.
    async fn watch(&self) -> Watch {
        let mut watch = self.asked("/api/v1/services?watch=1&resourceVersion=5").await;
        watch.server.write_all(HEAD.as_bytes()).await.unwrap();
        assert_eq!(soon(read_head(&mut watch.client)).await.unwrap(), HEAD);
        watch
    }
}

#[tokio::test]
async fn a_watch_passes_as_it_comes() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let log = server.proxy.requests();
    assert_eq!(
        log[0].query("watch").as_deref(),
        Some("1"),
        "it is logged before its end"
    );
    assert_eq!(log[0].status, Some(200));
    watch.works().await;

    // A piece of a line passes, too, and what the server says in several pieces of a chunk.
    watch.say("half of").await;
    watch.hears("half of").await;
    watch.server.write_all(b"6\r\n a l").await.unwrap();
    watch.hears(" a l").await;
    watch.server.write_all(b"in\r\n").await.unwrap();
    watch.hears("in").await;

    // It ends as it should, and the connection is used again.
    watch.server.write_all(b"0\r\n\r\n").await.unwrap();
    let mut end = [0; 5];
    soon(watch.client.read_exact(&mut end)).await.unwrap();
    assert_eq!(&end, b"0\r\n\r\n");
    ask(&mut watch.client, "/n").await;
    soon(read_head(&mut watch.server)).await.unwrap();
    watch.server.write_all(plain("again").as_bytes()).await.unwrap();
    assert_eq!(answer(&mut watch.client).await.1, "again");
}

#[tokio::test]
async fn only_chunked_answers_to_watches_and_events_are_streams() {
    let server = Server::start().await;
    for target in [
        "/api/v1/services?watch=false",
        "/api/v1/services?limit=1",
        "/watch=1",
    ] {
        let mut other = server.asked(target).await;
        other.server.write_all(HEAD.as_bytes()).await.unwrap();
        other.say("whole").await;
        assert_silent(&mut other.client).await;
        other.server.write_all(b"0\r\n\r\n").await.unwrap();
        assert_eq!(soon(read_head(&mut other.client)).await.unwrap(), HEAD);
        other.hears("whole").await;
    }
    let mut refused = server.asked("/api/v1/services?watch=1").await;
    refused.server.write_all(plain("no").as_bytes()).await.unwrap();
    assert_eq!(answer(&mut refused.client).await.1, "no");

    let mut events = server.asked("/v1/watch").await;
    let head = HEAD.replace("application/json", "text/event-stream; charset=utf-8");
    events.server.write_all(head.as_bytes()).await.unwrap();
    assert_eq!(soon(read_head(&mut events.client)).await.unwrap(), head);
    events.works().await;
}

#[tokio::test]
async fn an_end_of_either_side_ends_the_other() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    watch.works().await;
    drop(watch.server);
    assert_closed(&mut watch.client).await;

    let mut watch = server.watch().await;
    watch.works().await;
    drop(watch.client);
    assert_closed(&mut watch.server).await;
    soon(server.proxy.wait_for_open(0)).await;
}

#[tokio::test]
async fn a_black_hole_swallows_a_watch_and_gives_it_back() {
    let server = Server::start().await;
    let (mut live, mut dying) = (server.watch().await, server.watch().await);
    live.works().await;
    server.proxy.black_hole(true);
    live.say("late\n").await;
    drop(dying.server);
    assert_silent(&mut live.client).await;
    assert_silent(&mut dying.client).await;
    assert_eq!(server.proxy.connections_open(), 2);
    server.proxy.black_hole(false);
    live.hears("late\n").await;
    assert_closed(&mut dying.client).await;
}

#[tokio::test]
async fn a_reset_reaches_watches() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    watch.works().await;
    server.proxy.reset_all();
    assert_reset(&mut watch.client).await;
    assert_closed(&mut watch.server).await;
}

#[tokio::test]
async fn a_watch_stalls_from_the_injection_on_until_it_is_taken_back() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    watch.works().await;
    let rule = server.proxy.inject(Rule::always(Fault::StallAfter(3)));
    watch.say("stalled\n").await;
    watch.hears("sta").await;
    assert_silent(&mut watch.client).await;
    assert_eq!(server.proxy.hits(rule), 1);

    // The rule is the same for a new watch, which it strikes from its beginning.
    let mut other = server.watch().await;
    other.say("other\n").await;
    other.hears("oth").await;
    assert_silent(&mut other.client).await;
    assert_eq!(server.proxy.hits(rule), 2);

    assert!(server.proxy.remove(rule));
    watch.hears("lled\n").await;
    watch.works().await;
    other.hears("er\n").await;
}

#[tokio::test]
async fn a_watch_that_is_silent_stalls_too() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let rule = server.proxy.inject(Rule::always(Fault::StallAfter(0)));
    watch.say("stalled\n").await;
    assert_silent(&mut watch.client).await;
    // Not even its end is told.
    drop(watch.server);
    assert_silent(&mut watch.client).await;
    assert!(server.proxy.remove(rule));
    let (text, end) = rest(&mut watch.client).await;
    end.unwrap();
    assert_eq!(text, "8\r\nstalled\n\r\n");
}

#[tokio::test]
async fn a_watch_is_cut_from_the_injection_on() {
    let server = Server::start().await;
    for (fault, wanted) in [
        (Fault::CutBody(5), "5\r\nEVENT\r\n"),
        (Fault::CutBody(0), ""),
        (Fault::CutAnswer(5), "7\r\nEV"),
        (Fault::CutAnswer(0), ""),
    ] {
        let mut watch = server.watch().await;
        watch.works().await;
        server.proxy.inject(Rule::always(fault.clone()));
        // One that is to go at once need not wait for the server.
        if !wanted.is_empty() {
            watch.say("EVENTS\n").await;
        }
        let (text, end) = rest(&mut watch.client).await;
        end.unwrap();
        assert_eq!(text, wanted, "{fault:?}");
        server.proxy.clear();
    }
}

#[tokio::test]
async fn a_watch_is_cut_from_its_beginning_on() {
    let server = Server::start().await;
    for (fault, wanted) in [
        (Fault::CutBody(5), format!("{HEAD}5\r\nEVENT\r\n")),
        (Fault::CutAnswer(9), "HTTP/1.1 ".to_owned()),
        (Fault::CutAnswer(HEAD.len() + 5), format!("{HEAD}7\r\nEV")),
        (Fault::Unterminated, format!("{HEAD}7\r\nEVENTS\n\r\n")),
        // As with any other answer: the end mark is cut, however long the body is.
        (Fault::CutBody(100), format!("{HEAD}7\r\nEVENTS\n\r\n")),
    ] {
        server.proxy.inject(Rule::always(fault.clone()));
        let mut watch = server.asked("/api/v1/services?watch=1").await;
        let answer = format!("{HEAD}7\r\nEVENTS\n\r\n0\r\n\r\n");
        watch.server.write_all(answer.as_bytes()).await.unwrap();
        let (text, end) = rest(&mut watch.client).await;
        end.unwrap();
        assert_eq!(text, wanted, "{fault:?}");
        server.proxy.clear();
    }
}

#[tokio::test]
async fn lines_are_changed_and_left_out() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    watch.say("begun ").await;
    watch.hears("begun ").await;
    let seen = Arc::new(AtomicUsize::new(0));
    let map = Fault::map_line({
        let seen = seen.clone();
        move |line| {
            seen.fetch_add(1, Ordering::Relaxed);
            (line != "drop").then(|| line.replace("bad", "good"))
        }
    });
    let rule = server.proxy.inject(Rule::always(map));
    // What was begun before the rule came is passed on as it is.
    watch.say("bad\n").await;
    watch.hears("bad\n").await;
    watch.say("drop\nbad\nba").await;
    watch.hears("good\n").await;
    watch.say("d\n").await;
    watch.hears("good\n").await;
    assert_eq!(seen.load(Ordering::Relaxed), 3);

    // A line that is kept back goes out when there is nobody left to change it.
    watch.say("ba").await;
    assert_silent(&mut watch.client).await;
    assert!(server.proxy.remove(rule));
    watch.hears("ba").await;
    watch.works().await;
}

#[tokio::test]
async fn lines_of_whole_bodies_are_changed_too() {
    let (_upstream, proxy) = start().await;
    proxy.inject(Rule::always(Fault::map_line(|line| {
        Some(line.replace("world", "moon"))
    })));
    proxy.inject(Rule::always(Fault::map_line(|line| {
        (line != "answer 1").then(|| line.to_owned())
    })));
    let mut client = connect(proxy.addr()).await;
    assert_eq!(get(&mut client, "/echo?world").await, "GET /echo?moon ");
    assert_eq!(get(&mut client, "/n").await, "");
}

#[tokio::test]
async fn a_watch_comes_late_and_in_drops() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let (latency, interval) = (A_WHILE * 2, Duration::from_millis(30));
    server.proxy.inject(Rule::always(Fault::Latency(latency)));
    let before = Instant::now();
    watch.say("late\n").await;
    watch.hears("late\n").await;
    assert!(before.elapsed() >= latency, "{:?}", before.elapsed());
    server.proxy.clear();

    server.proxy.inject(Rule::always(Fault::Drip(interval)));
    let before = Instant::now();
    watch.say("drops\n").await;
    watch.hears("drops\n").await;
    assert!(before.elapsed() >= interval * 6, "{:?}", before.elapsed());
}

#[tokio::test]
async fn headers_and_answers_of_a_watch_are_replaced_like_others() {
    let server = Server::start().await;
    server
        .proxy
        .inject(Rule::always(Fault::set_header("Content-Type", "text/plain")));
    let mut watch = server.asked("/api/v1/services?watch=1").await;
    watch.server.write_all(HEAD.as_bytes()).await.unwrap();
    let head = soon(read_head(&mut watch.client)).await.unwrap();
    assert!(head.contains("Content-Type: text/plain\r\n"), "{head}");
    watch.works().await;
    server.proxy.clear();

    // A rule that comes while the server thinks about it replaces the answer, and the server loses the client.
    let mut watch = server.asked("/api/v1/services?watch=1").await;
    server
        .proxy
        .inject(Rule::always(Fault::respond(410, &[], "Gone")));
    watch.server.write_all(HEAD.as_bytes()).await.unwrap();
    let (head, body) = answer(&mut watch.client).await;
    assert!(head.starts_with("HTTP/1.1 410 Gone\r\n"), "{head}");
    assert_eq!(body, "Gone");
    assert_closed(&mut watch.server).await;
}

#[tokio::test]
async fn what_needs_the_whole_body_gets_it() {
    let server = Server::start().await;
    let upper = |body: Bytes| Bytes::from(String::from_utf8_lossy(&body).to_uppercase());
    server.proxy.inject(Rule::always(Fault::map_body(upper)));
    let mut watch = server.asked("/api/v1/services?watch=1").await;
    watch.server.write_all(HEAD.as_bytes()).await.unwrap();
    watch.say("one ").await;
    assert_silent(&mut watch.client).await;
    watch.say("two").await;
    watch.server.write_all(b"0\r\n\r\n").await.unwrap();
    assert_eq!(soon(read_head(&mut watch.client)).await.unwrap(), HEAD);
    watch.hears("ONE TWO").await;
}

#[tokio::test]
async fn a_rule_that_makes_no_sense_in_the_middle_waits_for_another_request() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    for fault in [Fault::Reset, Fault::BlackHole, Fault::respond(500, &[], "no")] {
        let rule = server.proxy.inject(Rule::new(Match::any().times(1), fault));
        watch.works().await;
        assert_eq!(server.proxy.hits(rule), 0);
        server.proxy.clear();
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_the_server() {
    let server = Server::start().await;
    let mut watch = server.watch().await;
    let block = "x".repeat(1 << 20);
    let mut said = 0;
    while timeout(A_WHILE * 10, watch.say(&block)).await.is_ok() {
        said += block.len();
        assert!(said < 1 << 30, "somebody keeps all of it");
    }
}
