//! A small web server with one page, as scripts and static servers have it: with validators or without.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What the page is, and who asked for it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) body: String,
    pub(crate) etag: bool,
    /// Further headers.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Each request: its target, and its headers by names in lower case.
    pub(crate) requests: Vec<(String, BTreeMap<String, String>)>,
    /// How often was answered that nothing changed.
    pub(crate) not_modified: usize,
}

/// The server; it ends when it is dropped.
pub(crate) struct Pages {
    address: SocketAddr,
    page: Arc<Mutex<Page>>,
    _tasks: JoinSet<()>,
}

impl Pages {
    /// Serves that document as JSON.
    pub(crate) async fn start(body: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let page = Arc::new(Mutex::new(Page {
            status: 200,
            content_type: Some("application/json".to_owned()),
            body: body.to_owned(),
            ..Page::default()
        }));
        let address = listener.local_addr().unwrap();
        let shared = page.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, shared.clone()));
            }
        });
        Self {
            address,
            page,
            _tasks: tasks,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/sd/targets/?env=prod", self.address)
    }

    /// Changes the page.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Page) -> T) -> T {
        change(&mut self.page.lock().unwrap())
    }

    pub(crate) fn set(&self, body: &str) {
        self.change(|page| page.body = body.to_owned());
    }

    pub(crate) fn requests(&self) -> usize {
        self.change(|page| page.requests.len())
    }

    /// The headers of the last request.
    pub(crate) fn last(&self) -> BTreeMap<String, String> {
        self.change(|page| page.requests.last().unwrap().1.clone())
    }
}

pub(crate) fn etag(body: &str) -> String {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    format!("\"{:x}\"", hasher.finish())
}

async fn serve(stream: TcpStream, page: Arc<Mutex<Page>>) {
    let mut stream = BufReader::new(stream);
    while let Some((target, headers)) = request(&mut stream).await {
        let answer = answer(&mut page.lock().unwrap(), target, headers);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

async fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, BTreeMap<String, String>)> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let target = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim().split_once(':') else {
            return Some((target, headers));
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
}

fn answer(page: &mut Page, target: String, headers: BTreeMap<String, String>) -> String {
    let mut fields = page.headers.clone();
    fields.extend(page.content_type.clone().map(|text| ("Content-Type", text)));
    let etag = etag(&page.body);
    let is_same = page.etag && headers.get("if-none-match") == Some(&etag);
    if page.etag {
        fields.push(("ETag", etag));
    }
    page.requests.push((target, headers));
    let (status, body) = if is_same {
        page.not_modified += 1;
        (304, "")
    } else {
        (page.status, page.body.as_str())
    };
    fields.push(("Content-Length", body.len().to_string()));
    let fields: String = fields
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    format!("HTTP/1.1 {status} Whatever\r\n{fields}\r\n{body}")
}
