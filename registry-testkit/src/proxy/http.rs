//! One connection in HTTP mode.

use std::convert::Infallible;

use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::client::{Client, End};
use super::fault::Fault;
use super::http1::{Answer, Framing, Request};
use super::plan::{Plan, Withheld, own_answer};
use super::rules::Struck;
use super::stream::{Course, Stream};
use super::upstream::Upstream;
use super::{Mode, Shared};

/// Serves a connection to its end.
pub(super) async fn serve(shared: &Shared, connection: u64, stream: &TcpStream) -> End {
    let link = Link {
        shared,
        connection,
        client: Client::new(stream, shared.gate()),
        upstream: None,
    };
    match link.run().await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

struct Link<'a> {
    shared: &'a Shared,
    connection: u64,
    client: Client<'a>,
    upstream: Option<Upstream>,
}

impl Link<'_> {
    async fn run(mut self) -> Result<Infallible, End> {
        self.client.pass_gate().await?;
        // Connected early, as the client sees its own connection: so the server's limits on connections show
        // before the first request. A server that is down shows with the first request that needs it.
        self.upstream = self
            .client
            .while_open(Upstream::connect(self.shared.upstream))
            .await?
            .ok();
        loop {
            self.idle().await?;
            let request = self.client.request().await?;
            self.exchange(&request).await?;
            if !request.keep_alive {
                return Err(End::Close);
            }
        }
    }

    /// Waits for the first bytes of a request; what the server says before is passed on.
    async fn idle(&mut self) -> Result<(), End> {
        let Some(upstream) = &mut self.upstream else {
            return self.client.any_input().await;
        };
        let mut said = tokio::select! {
            biased;
            any = self.client.any_input() => return any,
            said = upstream.unsolicited() => said,
        };
        loop {
            self.client.pass_gate().await?;
            said?;
            self.client.write(&upstream.take_input()).await?;
            said = self.client.while_open(upstream.read_more()).await?;
        }
    }

    async fn exchange(&mut self, request: &Request) -> Result<(), End> {
        let Shared { activity, paths, .. } = self.shared;
        let number = activity.requested(self.connection, &request.method, &request.target);
        // From before the look, or a rule that comes right after it would be missed.
        let changed = self.shared.rules_changed.subscribe();
        let (mut struck, faults) = self.shared.rules().on_request(&request.target);
        self.withhold(Withheld::by(&faults)).await?;
        let (answer, streams) = match own_answer(&faults) {
            Some(own) => (own, None),
            None => self.forward(request, &mut struck).await?,
        };
        // Rules may have come and gone while the server had parked the request.
        let faults = self.shared.rules().on_answer(&mut struck, &request.target);
        self.withhold(Withheld::by(&faults)).await?;
        let plan = Plan::new(answer, &faults, request.path(), paths);
        if let Some(latency) = plan.latency {
            self.client.while_open(sleep(latency)).await?;
        }
        if let Some(at_most) = plan.hold {
            // Either way the answer goes out now: the other one has passed, or none came.
            let _ = self
                .client
                .while_open(timeout(at_most, paths.next_pass(request.path())))
                .await?;
        }
        self.client.pass_gate().await?;
        activity.answering(number, plan.answer.status);
        let sent = match (&mut self.upstream, streams) {
            (Some(upstream), Some(framing)) if !plan.replaced => {
                let stream = Stream {
                    shared: self.shared,
                    client: &mut self.client,
                    upstream,
                    target: &request.target,
                    framing,
                    course: Course::new(struck, changed),
                };
                stream.send(&plan).await
            }
            _ => {
                if streams.is_some() {
                    // Nobody reads the rest of what it says there.
                    self.upstream = None;
                }
                plan.send(&mut self.client).await
            }
        };
        if sent.is_ok() {
            paths.pass(request.path());
        }
        sent
    }

    async fn withhold(&mut self, withheld: Option<Withheld>) -> Result<(), End> {
        match withheld {
            None => Ok(()),
            Some(Withheld::Ended(end)) => Err(end),
            Some(Withheld::Silence) => Err(self.client.gone().await),
        }
    }

    /// Asks upstream; with the head of an answer that is to be passed on as it comes, how its end is told. A client that goes
    /// meanwhile takes the connection to upstream with it.
    async fn forward(
        &mut self,
        request: &Request,
        struck: &mut Struck,
    ) -> Result<(Answer, Option<Framing>), End> {
        let mut request = request.clone();
        if self.shared.mode != Mode::Compressed {
            // Faults are about bytes of the body that a test can read.
            request
                .headers
                .retain(|(name, _)| !name.eq_ignore_ascii_case("accept-encoding"));
        }
        let (shared, slot) = (self.shared, &mut self.upstream);
        let asked = self.client.while_open(async {
            let upstream = match slot {
                Some(upstream) => upstream,
                None => slot.insert(Upstream::connect(shared.upstream).await?),
            };
            let head = upstream.ask(&request).await?;
            if head.is_stream(&request) {
                let faults = shared.rules().on_answer(struck, &request.target);
                if !faults.iter().any(Fault::needs_whole_body) {
                    let answer = Answer {
                        chunked: true,
                        ..head.answer
                    };
                    return Ok((answer, Some(head.framing)));
                }
            }
            Ok((upstream.whole(head).await?, None))
        });
        match asked.await? {
            Ok((answer, streams)) => {
                if streams.is_none() {
                    self.shared.paths.record(request.path(), &answer);
                }
                Ok((answer, streams))
            }
            Err(end) => {
                self.client.pass_gate().await?;
                Err(end)
            }
        }
    }
}
