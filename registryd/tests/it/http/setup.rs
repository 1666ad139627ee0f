//! A daemon's HTTP output with registries under the test's control.

use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;

use registry_core::{
    Address, Control, Discovery, DiscoveryBuilder, Endpoint, ErrorKind, Event, EventStream, Health,
    RegistryError, RegistryOptions, Scope, ServiceId, ServiceMeta, ServicePort, ServiceRecord,
    ServiceRegistry, async_trait,
};
use registryd::http::{HttpOptions, serve};
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long anything may take that a test waits for, on a slow and busy machine.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

/// A registry that says what it is told to, in the batches it is told in.
pub(super) struct Scripted {
    batches: Mutex<Option<mpsc::UnboundedReceiver<Vec<Event>>>>,
}

/// Tells a [`Scripted`] registry what to say.
#[derive(Clone)]
pub(super) struct Script(mpsc::UnboundedSender<Vec<Event>>);

impl Scripted {
    pub(super) fn new() -> (Self, Script) {
        let (sender, receiver) = mpsc::unbounded_channel();
        let batches = Mutex::new(Some(receiver));
        (Self { batches }, Script(sender))
    }
}

impl Script {
    pub(super) fn say(&self, batch: Vec<Event>) {
        self.0.send(batch).unwrap();
    }

    /// These are all services.
    pub(super) fn list(&self, records: impl IntoIterator<Item = ServiceRecord>) {
        self.say(Event::listing(Scope::Registry, records));
    }

    pub(super) fn apply(&self, record: ServiceRecord) {
        self.say(vec![Event::apply(record)]);
    }

    pub(super) fn delete(&self, id: ServiceId) {
        self.say(vec![Event::Delete { id, explicit: true }]);
    }

    /// Three failures in a row: stale.
    pub(super) fn fail(&self) {
        for _ in 0..3 {
            let error = RegistryError::new(ErrorKind::Unreachable, "GET http://10.9.9.9: timed out");
            self.say(vec![Event::degraded(Scope::Registry, error)]);
        }
    }
}

#[async_trait]
impl ServiceRegistry for Scripted {
    fn kind(&self) -> &'static str {
        "scripted"
    }

    fn freshness_bound(&self) -> Duration {
        Duration::from_secs(3600)
    }

    async fn watch(&self, _control: Control) -> Result<EventStream, RegistryError> {
        let batches = self.batches.lock().unwrap().take();
        let batches = batches.ok_or_else(|| RegistryError::new(ErrorKind::Internal, "watched twice"))?;
        let next = |mut batches: mpsc::UnboundedReceiver<Vec<Event>>| async move {
            match batches.recv().await {
                Some(batch) => Some((Ok(batch), batches)),
                // A script that was dropped has said its last word; the watch goes on.
                None => std::future::pending().await,
            }
        };
        Ok(Box::pin(futures_util::stream::unfold(batches, next)))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

/// A registry that never answers.
pub(super) struct Down;

#[async_trait]
impl ServiceRegistry for Down {
    fn kind(&self) -> &'static str {
        "down"
    }

    async fn watch(&self, _control: Control) -> Result<EventStream, RegistryError> {
        Err(RegistryError::new(
            ErrorKind::Unreachable,
            "GET http://10.9.9.9:8500: refused",
        ))
    }

    async fn probe(&self) -> Result<(), RegistryError> {
        Ok(())
    }
}

pub(super) fn optional() -> RegistryOptions {
    RegistryOptions {
        required: false,
        ..RegistryOptions::default()
    }
}

/// Options under which registries merge services of one name.
pub(super) fn merging() -> RegistryOptions {
    RegistryOptions {
        hostname: Some("{name}.mesh.internal".parse().unwrap()),
        ..RegistryOptions::default()
    }
}

pub(super) fn endpoint(address: &str, id: &str) -> registry_core::EndpointBuilder {
    Endpoint::builder(address.parse::<Address>().unwrap())
        .port("http", 8080)
        .health(Health::Healthy)
        .id(id)
        .status("passing")
}

/// A service with a port and one endpoint.
pub(super) fn service(name: &str, address: &str) -> ServiceRecord {
    let meta = ServiceMeta::builder(ServiceId::named(name)).ports([ServicePort::new("http")]);
    ServiceRecord::new(meta.build(), [endpoint(address, name).build()])
}

/// A daemon's HTTP output, and what it serves.
pub(super) struct Daemon {
    pub(super) at: SocketAddr,
    pub(super) discovery: Discovery,
    pub(super) stop: CancellationToken,
    pub(super) task: JoinHandle<std::io::Result<()>>,
}

impl Daemon {
    pub(super) async fn start(builder: DiscoveryBuilder) -> Self {
        Self::with(builder, HttpOptions::default()).await
    }

    pub(super) async fn with(builder: DiscoveryBuilder, options: HttpOptions) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::on(listener, builder, options).await
    }

    /// Accepts connections whose sockets hold as little as possible.
    pub(super) async fn narrow(builder: DiscoveryBuilder) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_send_buffer_size(4096).unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        Self::on(socket.listen(16).unwrap(), builder, HttpOptions::default()).await
    }

    async fn on(listener: TcpListener, builder: DiscoveryBuilder, options: HttpOptions) -> Self {
        let discovery = builder.start().unwrap();
        let stop = CancellationToken::new();
        let at = listener.local_addr().unwrap();
        let task = tokio::spawn(serve(listener, discovery.clone(), options, stop.clone()));
        Self {
            at,
            discovery,
            stop,
            task,
        }
    }

    /// Waits until the snapshot is as wanted.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&registry_core::Snapshot) -> bool) {
        let start = Instant::now();
        while !wanted(&self.discovery.snapshot()) {
            assert!(start.elapsed() < DEADLINE, "{what}: not within {DEADLINE:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// A daemon that is ready, with one scripted registry which said this.
pub(super) async fn one_registry(records: impl IntoIterator<Item = ServiceRecord>) -> (Daemon, Script) {
    let (registry, script) = Scripted::new();
    script.list(records);
    let builder = Discovery::builder()
        .registry_with("vms", registry, merging())
        .unwrap()
        .publish_interval(Duration::ZERO);
    let daemon = Daemon::start(builder).await;
    daemon.discovery.ready().await;
    (daemon, script)
}
