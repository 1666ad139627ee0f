//! gRPC's own implementation (its C core, by way of Python) for tests: a server that says who it is, and a client that
//! gets its configuration by xDS.
//!
//! ```text
//!  bootstrap (JSON) ─▶ GrpcClient ── call, stream, load ──▶ GrpcServer
//!                         └ csds: what it took and what it refused
//! ```

mod program;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use self::program::Program;
use crate::Error;
use crate::upstream::Identity;

/// What questions may take beyond what was asked for.
const GRACE: Duration = Duration::from_secs(60);

/// A server: `/test.Echo/Echo` answers with its id, `/test.Echo/Stream` with the id again and again,
/// `/grpc.health.v1.Health/Check` with its health. It speaks HTTP/2, without TLS
/// unless [`start_tls`](Self::start_tls) starts it.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), registry_testkit::Error> {
/// use registry_testkit::grpc::{Call, GrpcClient, GrpcServer};
///
/// let server = GrpcServer::start("a").await?;
/// let mut client = GrpcClient::start(None, &[]).await?;
/// let answer = client.call(&Call::to(server.address().to_string())).await?;
/// assert_eq!(answer.server.as_deref(), Some("a"));
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct GrpcServer {
    program: Program,
    address: SocketAddr,
    id: String,
}

/// A client.
#[derive(Debug)]
pub struct GrpcClient {
    program: Program,
}

/// Which calls are to be made.
#[derive(Debug, Clone)]
pub struct Call {
    /// The target, such as `xds:///web.mesh.internal` or `127.0.0.1:15001`.
    pub target: String,
    /// The authority, where it is not the target's own.
    pub authority: Option<String>,
    /// How long one may take.
    pub timeout: Duration,
    /// Whether it waits for a server instead of failing at once.
    pub wait_for_ready: bool,
    /// What it sends beside the message, names in lower case.
    pub metadata: Vec<(String, String)>,
    /// Whether the control plane says what TLS there is to servers, by `xds_channel_credentials`. None otherwise.
    pub tls_by_xds: bool,
}

/// The answer to a call.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Answered {
    /// Who answered.
    pub server: Option<String>,
    /// The status code: `OK`, `UNAVAILABLE` and so on.
    pub code: String,
    /// The text of the status.
    pub details: String,
    /// How long it took, in seconds.
    pub seconds: f64,
}

/// What a stream brought.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct Streamed {
    /// Its messages: who sent them.
    pub messages: Vec<String>,
    /// The status code.
    pub code: String,
    /// The text of the status.
    pub details: String,
}

/// What came of a load.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[non_exhaustive]
pub struct GrpcReport {
    /// How often each server answered.
    pub by_server: BTreeMap<String, u64>,
    /// How often each status code came.
    pub by_code: BTreeMap<String, u64>,
    /// The texts of what was not `OK`, the first ones.
    pub details: Vec<String>,
}

// === impl GrpcServer ===

impl GrpcServer {
    /// Starts one on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// [`Error::ServerMissing`] when Python or the packages are not installed, [`Error::Ended`] or [`Error::NotReady`]
    /// with what it said when it does not come up.
    pub async fn start(id: &str) -> Result<Self, Error> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), id).await
    }

    /// Starts one at the address; port 0 is any.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub async fn start_at(address: SocketAddr, id: &str) -> Result<Self, Error> {
        Self::start_with(address, id, json!({})).await
    }

    /// Starts one on a free port of 127.0.0.1 that speaks TLS: it shows the identity, and clients have to show one that
    /// the authority (a certificate in PEM) issued.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub async fn start_tls(id: &str, identity: &Identity, authority: &str) -> Result<Self, Error> {
        let config = json!({
            "certificate": identity.certificate,
            "key": identity.key,
            "authority": authority,
        });
        Self::start_with((Ipv4Addr::LOCALHOST, 0).into(), id, config).await
    }

    async fn start_with(address: SocketAddr, id: &str, mut config: Value) -> Result<Self, Error> {
        config["id"] = json!(id);
        config["address"] = json!(address.to_string());
        let (program, hello) = Program::start("grpc-server", SERVER, config).await?;
        let port = hello["port"].as_u64().and_then(|port| u16::try_from(port).ok());
        Ok(Self {
            program,
            address: SocketAddr::new(address.ip(), port.unwrap_or_default()),
            id: id.to_owned(),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it calls itself.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many calls it has ever answered.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] when it is gone.
    pub async fn calls(&mut self) -> Result<u64, Error> {
        let answer = self.program.ask(&json!({ "calls": true }), GRACE).await?;
        Ok(answer["calls"].as_u64().unwrap_or_default())
    }

    /// What it says of its health from now on.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] when it is gone.
    pub async fn set_serving(&mut self, serving: bool) -> Result<(), Error> {
        let question = json!({ "serving": serving });
        self.program.ask(&question, GRACE).await.map(drop)
    }

    /// Takes no new calls, and ends when those under way are done or the time is over.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] when it is gone already.
    pub async fn end(mut self, grace: Duration) -> Result<(), Error> {
        let question = json!({ "end": grace.as_secs_f64() });
        self.program.ask(&question, grace + GRACE).await.map(drop)
    }

    /// Freezes it (`SIGSTOP`).
    ///
    /// # Errors
    ///
    /// [`Error::Signal`] when the system refuses.
    pub async fn pause(&self) -> Result<(), Error> {
        self.program.daemon().pause().await
    }

    /// Lets a frozen one go on (`SIGCONT`).
    ///
    /// # Errors
    ///
    /// [`Error::Signal`] when the system refuses.
    pub fn resume(&self) -> Result<(), Error> {
        self.program.daemon().resume()
    }
}

// === impl Call ===

impl Call {
    /// To the target, within 30 s.
    pub fn to(target: impl Into<String>) -> Self {
        Self {
            target: target.into(),
            authority: None,
            timeout: Duration::from_secs(30),
            wait_for_ready: false,
            metadata: Vec::new(),
            tls_by_xds: false,
        }
    }

    fn question(&self, kind: &str) -> Value {
        json!({
            "do": kind,
            "target": self.target,
            "authority": self.authority,
            "timeout": self.timeout.as_secs_f64(),
            "wait": self.wait_for_ready,
            "metadata": self.metadata,
            "by_xds": self.tls_by_xds,
        })
    }
}

// === impl GrpcClient ===

impl GrpcClient {
    /// Starts one, with the text of an xDS bootstrap where it needs that, and with further variables of its environment,
    /// such as [`DATA_ERRORS`].
    ///
    /// # Errors
    ///
    /// [`Error::ServerMissing`] when Python or the packages are not installed, [`Error::Ended`] or [`Error::NotReady`]
    /// with what it said when it does not come up.
    pub async fn start(bootstrap: Option<&str>, environment: &[(&str, &str)]) -> Result<Self, Error> {
        let mut variables: BTreeMap<&str, &str> = environment.iter().copied().collect();
        if let Some(bootstrap) = bootstrap {
            variables.insert("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap);
        }
        let config = json!({ "environment": variables });
        let (program, _) = Program::start("grpc-client", CLIENT, config).await?;
        Ok(Self { program })
    }

    /// Makes one call.
    ///
    /// # Errors
    ///
    /// [`Error::Ended`] when the client is gone. A call that fails is none.
    pub async fn call(&mut self, call: &Call) -> Result<Answered, Error> {
        let mut answers = self.calls(call, 1, 1).await?;
        answers.pop().ok_or_else(|| self.program.gone("no answer"))
    }

    /// Makes that many calls, at most `parallel` of them at once.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub async fn calls(&mut self, call: &Call, calls: u32, parallel: u32) -> Result<Vec<Answered>, Error> {
        let mut question = call.question("calls");
        question["calls"] = json!(calls);
        question["parallel"] = json!(parallel);
        let deadline = call.timeout * calls.div_ceil(parallel.max(1)) + GRACE;
        let mut answer = self.program.ask(&question, deadline).await?;
        self.program.read(answer["calls"].take())
    }

    /// Reads that many messages of one stream.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub async fn stream(&mut self, call: &Call, messages: u32) -> Result<Streamed, Error> {
        let mut question = call.question("stream");
        question["messages"] = json!(messages);
        let answer = self.program.ask(&question, call.timeout + GRACE).await?;
        self.program.read(answer)
    }

    /// Begins to call again and again, with a pause of a millisecond, in that many threads.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub async fn start_load(&mut self, call: &Call, parallel: u32) -> Result<(), Error> {
        let mut question = call.question("load");
        question["parallel"] = json!(parallel);
        self.program.ask(&question, GRACE).await.map(drop)
    }

    /// Ends the load that was begun last, after the calls that are under way.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call), also where there is no load.
    pub async fn stop_load(&mut self) -> Result<GrpcReport, Error> {
        let answer = self.program.ask(&json!({ "do": "stop" }), GRACE).await?;
        self.program.read(answer)
    }

    /// What the client has of its xDS configuration, and what it refused: a `ClientStatusResponse` in JSON.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub async fn csds(&mut self) -> Result<Value, Error> {
        self.program.ask(&json!({ "do": "csds" }), GRACE).await
    }

    /// The status of each of its resources by CSDS: `ACKED`, `NACKED`, `DOES_NOT_EXIST` and so on, by the last part of
    /// the type URL and the name.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub async fn statuses(&mut self) -> Result<BTreeMap<(String, String), String>, Error> {
        Ok(statuses(&self.csds().await?))
    }

    /// Closes all channels: the next call begins anew.
    ///
    /// # Errors
    ///
    /// As for [`call`](Self::call).
    pub async fn close(&mut self) -> Result<(), Error> {
        self.program.ask(&json!({ "do": "close" }), GRACE).await.map(drop)
    }

    /// The last lines that it wrote.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.daemon().log()
    }
}

/// With this variable of its environment a client takes errors that the server tells of resources.
pub const DATA_ERRORS: (&str, &str) = ("GRPC_EXPERIMENTAL_XDS_DATA_ERROR_HANDLING", "1");

const SERVER: &str = include_str!("grpc/server.py");
const CLIENT: &str = include_str!("grpc/client.py");

fn statuses(csds: &Value) -> BTreeMap<(String, String), String> {
    let list = |value: &Value, name: &str| value[name].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut found = BTreeMap::new();
    for client in list(csds, "config") {
        for resource in list(&client, "genericXdsConfigs") {
            let type_url = text(&resource["typeUrl"]);
            let kind = type_url.rsplit('.').next().unwrap_or_default().to_owned();
            let status = text(&resource["clientStatus"]);
            found.insert((kind, text(&resource["name"])), status);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_found_by_type_and_name() {
        let resource = json!({
            "typeUrl": "type.googleapis.com/envoy.config.listener.v3.Listener",
            "name": "web",
            "clientStatus": "ACKED",
        });
        let csds = json!({ "config": [{ "genericXdsConfigs": [resource] }] });
        let wanted = (("Listener".to_owned(), "web".to_owned()), "ACKED".to_owned());
        assert_eq!(statuses(&csds), BTreeMap::from([wanted]));
        assert!(statuses(&json!({})).is_empty());
    }
}
