//! `/v1/xds`: who is connected to the xDS server, what could not be served, and what a node gets.

pub(super) mod status;

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use registry_core::Pattern;
use registry_xds::{Node, Resource, ResourceSet, ResourceType, View, Warning, Xds};
use serde::Serialize;

use self::status::{ClientView, NodeView};
use super::document::Document;
use super::problem::Problem;
use super::registries::answer;
use super::{Api, json, query};

/// `GET /v1/xds/clients`: all open streams, the oldest first.
pub(super) async fn clients(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct All<'a> {
        clients: Vec<ClientView<'a>>,
    }

    query::none(query.as_deref())?;
    let clients = server(&api)?.clients().list();
    Ok(answer(&All {
        clients: clients.iter().map(ClientView::of).collect(),
    }))
}

/// `GET /v1/xds/warnings`: what cannot be served as its registry has it, in the views of those who are connected.
pub(super) async fn warnings(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    #[derive(Serialize)]
    struct All<'a> {
        warnings: Vec<WarningView<'a>>,
    }

    query::none(query.as_deref())?;
    let warnings = server(&api)?.views().warnings();
    Ok(answer(&All {
        warnings: warnings.iter().map(WarningView::of).collect(),
    }))
}

/// `GET /v1/xds/resources?node=…`: what a node would get now, whether it is connected or not.
pub(super) async fn resources(
    State(api): State<Arc<Api>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let xds = server(&api)?;
    let wanted = Wanted::parse(query.as_deref())?;
    let Some((set, warnings)) = xds.views().look(&wanted.node).await else {
        let awaited = api.discovery.readiness().awaited;
        let awaited: Vec<String> = awaited.iter().map(ToString::to_string).collect();
        let detail = match awaited.as_slice() {
            [] => "not ready: nothing is served yet".to_owned(),
            awaited => format!("not ready: awaiting {}", awaited.join(", ")),
        };
        return Err(Problem::unavailable(detail).with("awaited", awaited));
    };
    let view = View::of(&wanted.node, &xds.views().config());
    let document = wanted.document(&set, &view, &warnings);
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, document.into_body()).into_response())
}

fn server(api: &Api) -> Result<&Xds, Problem> {
    api.options.xds.as_ref().ok_or_else(|| {
        Problem::new(
            StatusCode::NOT_FOUND,
            "xDS is not served: the configuration has no section `xds`",
        )
    })
}

#[derive(Serialize)]
struct WarningView<'a> {
    hostname: &'a str,
    problem: &'a str,
}

impl<'a> WarningView<'a> {
    fn of(warning: &'a Warning) -> Self {
        Self {
            hostname: &warning.hostname,
            problem: &warning.problem,
        }
    }
}

/// What is asked for: a node, and perhaps not all of its resources.
struct Wanted {
    node: Node,
    /// Empty for all.
    types: Vec<ResourceType>,
    /// Empty for all.
    names: Vec<Pattern>,
}

impl Wanted {
    fn parse(query: Option<&str>) -> Result<Self, Problem> {
        let wrong = |name: &str, problem: String| Problem::bad_request(problem).with("parameter", name);
        let mut node = None;
        let (mut types, mut names) = (Vec::new(), Vec::new());
        for (name, value) in query::pairs(query, &["node", "type", "name"])? {
            match name.as_str() {
                "node" => {
                    query::once("node", node.is_some())?;
                    let parsed = Node::parse(&value);
                    node = Some(
                        parsed
                            .map_err(|error| wrong("node", format!("query parameter \"node\": {error}")))?,
                    );
                }
                "type" => {
                    let known = ResourceType::ALL
                        .into_iter()
                        .find(|type_| type_.as_str() == value);
                    let unknown = || query::wrong("type", &value, "one of cds, eds, lds and rds");
                    types.push(known.ok_or_else(unknown)?);
                }
                _ => names.push(Pattern::new(value)),
            }
        }
        let expected =
            "the id of an Envoy, or a node in JSON such as {\"id\":\"vm-1\",\"user_agent_name\":\"gRPC\"}";
        let node = node.ok_or_else(|| query::wrong("node", "", expected))?;
        Ok(Self { node, types, names })
    }

    /// The answer. A resource becomes JSON when it is its turn: all of them together may be large.
    fn document(&self, set: &ResourceSet, view: &View, warnings: &[Warning]) -> Document {
        #[derive(Serialize)]
        struct Head<'a> {
            revision: u64,
            complete: bool,
            view: NodeView<'a>,
            warnings: Vec<WarningView<'a>>,
        }

        let mut head = Vec::new();
        json::append(
            &mut head,
            &Head {
                revision: set.revision(),
                complete: set.is_complete(),
                view: NodeView::of(view),
                warnings: warnings.iter().map(WarningView::of).collect(),
            },
        );
        // The lists of resources come before its end.
        head.pop();
        let mut document = Document::default().text(head);
        for type_ in ResourceType::ALL {
            if !self.types.is_empty() && !self.types.contains(&type_) {
                continue;
            }
            let named =
                |name: &str| self.names.is_empty() || self.names.iter().any(|names| names.matches(name));
            let mut resources: Vec<Arc<Resource>> = set
                .iter(type_)
                .filter(|resource| named(resource.name()))
                .cloned()
                .collect();
            resources.sort_unstable_by(|a, b| a.name().cmp(b.name()));
            let elements = resources.into_iter().map(|resource| {
                let mut out = Vec::new();
                json::append(&mut out, &resource.entry());
                out
            });
            document = document
                .text(format!(",\"{type_}\":["))
                .elements(elements)
                .text("]");
        }
        document.text("}")
    }
}
