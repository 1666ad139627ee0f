//! Hostnames: how each registry renders the names of its services, and patterns over them.

use std::fmt;
use std::str::FromStr;

use crate::model::ServiceMeta;
use crate::text::Str;

/// A template that renders a service to its hostname, such as `{name}.{namespace}.svc.cluster.local`.
///
/// The variables are `name`, `namespace`, `group`, and those that the backend offers, such as `datacenter`; a registry
/// whose services have hostnames already offers `hostname`, which may stand in place of `name`. Letters
/// are lower-cased and characters that DNS forbids become `-` (`_` stays). A variable without a value renders to
/// nothing, and so does the dot after it.
///
/// ```
/// use registry_core::{HostnameTemplate, ServiceId, ServiceMeta};
///
/// let template: HostnameTemplate = "{name}.mesh.internal".parse()?;
/// let meta = ServiceMeta::builder(ServiceId::named("Payments API")).build();
/// assert_eq!(template.render(&meta), "payments-api.mesh.internal");
/// # Ok::<(), registry_core::TemplateError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct HostnameTemplate {
    text: Str,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Variable(String),
}

/// A text that is no hostname template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("hostname template {template:?}: {problem}")]
pub struct TemplateError {
    /// The text.
    pub template: String,
    /// What is wrong with it.
    pub problem: String,
}

impl FromStr for HostnameTemplate {
    type Err = TemplateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = |problem: String| TemplateError {
            template: text.to_owned(),
            problem,
        };
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find(['{', '}']) {
            let (literal, tail) = rest.split_at(open);
            if !literal.is_empty() {
                parts.push(Part::Literal(literal.to_ascii_lowercase()));
            }
            let Some(tail) = tail.strip_prefix('{') else {
                return Err(wrong("\"}\" without \"{\" before it".to_owned()));
            };
            let Some((name, tail)) = tail.split_once('}') else {
                return Err(wrong("\"{\" without \"}\" after it".to_owned()));
            };
            if name.is_empty() || !name.bytes().all(|c| c.is_ascii_lowercase() || c == b'_') {
                return Err(wrong(format!(
                    "found variable {name:?}, expected lower-case letters such as {{name}}"
                )));
            }
            parts.push(Part::Variable(name.to_owned()));
            rest = tail;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_ascii_lowercase()));
        }
        if parts.is_empty() {
            return Err(wrong("expected a hostname, found nothing".to_owned()));
        }
        let bad = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
        for part in &parts {
            if let Part::Literal(literal) = part
                && let Some(found) = literal.chars().find(|c| bad(*c))
            {
                return Err(wrong(format!("found {found:?}, which no hostname contains")));
            }
        }
        let tells_apart =
            |part: &Part| matches!(part, Part::Variable(name) if name == "name" || name == "hostname");
        if !parts.iter().any(tells_apart) && parts.iter().any(|p| matches!(p, Part::Variable(_))) {
            return Err(wrong(
                "expected {name} in it: without it all services have one hostname".to_owned(),
            ));
        }
        Ok(Self {
            text: text.into(),
            parts,
        })
    }
}

impl HostnameTemplate {
    /// The hostname of a service.
    pub fn render(&self, meta: &ServiceMeta) -> String {
        let mut hostname = String::with_capacity(self.text.len() + 32);
        let mut skip_dot = false;
        for part in &self.parts {
            match part {
                Part::Literal(literal) => {
                    let literal = if skip_dot {
                        literal.strip_prefix('.').unwrap_or(literal)
                    } else {
                        literal.as_str()
                    };
                    hostname.push_str(literal);
                    skip_dot = false;
                }
                Part::Variable(name) => {
                    let value: &str = match name.as_str() {
                        "name" => meta.name(),
                        "namespace" => meta.namespace(),
                        "group" => meta.id().group(),
                        other => meta.variables().get(other).map_or("", Str::as_str),
                    };
                    push_sanitised(&mut hostname, value);
                    skip_dot = value.is_empty();
                }
            }
        }
        hostname.truncate(hostname.trim_end_matches('.').len());
        hostname
    }

    /// The names of the variables in it.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(name) => Some(name.as_str()),
            Part::Literal(_) => None,
        })
    }

    /// The text it was read from.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn push_sanitised(hostname: &mut String, value: &str) {
    hostname.extend(value.chars().map(|c| match c {
        'a'..='z' | '0'..='9' | '-' | '_' | '.' => c,
        'A'..='Z' => c.to_ascii_lowercase(),
        _ => '-',
    }));
}

/// A name as look-ups compare it: lower case, without the dot of the root.
pub(crate) fn normalised(name: &str) -> std::borrow::Cow<'_, str> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.bytes().any(|c| c.is_ascii_uppercase()) {
        std::borrow::Cow::Owned(name.to_ascii_lowercase())
    } else {
        std::borrow::Cow::Borrowed(name)
    }
}

impl fmt::Debug for HostnameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for HostnameTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A pattern in which `*` stands for any run of characters, dots included.
///
/// ```
/// use registry_core::Pattern;
///
/// assert!(Pattern::new("*.mesh.internal").matches("payments.mesh.internal"));
/// assert!(!Pattern::new("web-*").matches("api-1"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pattern(Str);

impl Pattern {
    /// A pattern; any text is one.
    pub fn new(text: impl Into<Str>) -> Self {
        Self(text.into())
    }

    /// True where the text fits.
    pub fn matches(&self, text: &str) -> bool {
        let mut parts = self.0.split('*');
        let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
            return false;
        };
        let mut parts = parts.peekable();
        if parts.peek().is_none() {
            return rest.is_empty();
        }
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return rest.ends_with(part);
            }
            match rest.find(part) {
                Some(at) => rest = &rest[at + part.len()..],
                None => return false,
            }
        }
        true
    }

    /// The text of the pattern.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ServiceId;

    fn render(template: &str, namespace: &str, name: &str) -> String {
        let meta = ServiceMeta::builder(ServiceId::new("", namespace, name)).build();
        template.parse::<HostnameTemplate>().unwrap().render(&meta)
    }

    #[test]
    fn hostnames_are_rendered_by_the_rules_of_dns() {
        assert_eq!(
            render("{name}.{namespace}.svc.cluster.local", "Prod", "Web_1"),
            "web_1.prod.svc.cluster.local"
        );
        assert_eq!(render("{name}.{namespace}.file", "", "a b/c"), "a-b-c.file");
        assert_eq!(render("fixed.example", "", "x"), "fixed.example");
        assert_eq!(render("{name}", "", "Ünder"), "-nder");
        assert_eq!(render("{name}.{datacenter}.consul", "", "web"), "web.consul");
    }

    #[test]
    fn wrong_templates_say_what_is_wrong() {
        for (template, problem) in [
            ("", "found nothing"),
            ("{name", "without \"}\""),
            ("name}", "without \"{\""),
            ("{Name}.x", "lower-case"),
            ("{name}.a b", "' '"),
            ("{namespace}.x", "expected {name}"),
        ] {
            let error = template.parse::<HostnameTemplate>().unwrap_err().to_string();
            assert!(error.contains(problem), "{template}: {error}");
        }
    }

    #[test]
    fn patterns_match() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*b", "ab", true),
            ("a*c*e", "abcde", true),
            ("a*c*e", "ace", true),
            ("a*a", "a", false),
            ("*aa", "aaa", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(text), expected, "{pattern} {text}");
        }
    }
}
