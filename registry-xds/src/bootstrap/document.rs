//! A document with its keys in the order in which people read them, as YAML or JSON.

use serde_json::Value;

/// A part of a document.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Document {
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Document>),
    Map(Vec<(&'static str, Document)>),
    /// A map whose keys are not ours.
    Named(Vec<(String, Document)>),
}

impl From<&str> for Document {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Document {
    pub(super) fn json(&self) -> String {
        let mut out = String::new();
        self.write_json(&mut out, 0);
        out.push('\n');
        out
    }

    pub(super) fn yaml(&self) -> String {
        let mut out = String::new();
        self.write_yaml(&mut out, 0, true);
        out
    }

    fn write_json(&self, out: &mut String, depth: usize) {
        let line = |out: &mut String, depth: usize| {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        };
        match self {
            Self::List(items) if !items.is_empty() => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    line(out, depth + 1);
                    item.write_json(out, depth + 1);
                }
                line(out, depth);
                out.push(']');
            }
            Self::Map(_) | Self::Named(_) if !self.is_scalar() => {
                out.push('{');
                let pairs = self.pairs();
                for (index, (key, value)) in pairs.into_iter().enumerate() {
                    out.push_str(if index > 0 { "," } else { "" });
                    line(out, depth + 1);
                    out.push_str(&format!("{}: ", quoted(key)));
                    value.write_json(out, depth + 1);
                }
                line(out, depth);
                out.push('}');
            }
            Self::Text(text) => out.push_str(&quoted(text)),
            scalar => out.push_str(&scalar.scalar()),
        }
    }

    /// Writes block style. `fresh` is true where the cursor stands where the first line belongs.
    fn write_yaml(&self, out: &mut String, depth: usize, mut fresh: bool) {
        let mut begin = |out: &mut String| {
            if !std::mem::take(&mut fresh) {
                out.push_str(&"  ".repeat(depth));
            }
        };
        match self {
            Self::List(items) if !items.is_empty() => {
                for item in items {
                    begin(out);
                    out.push_str("- ");
                    item.write_yaml(out, depth + 1, true);
                }
            }
            Self::Map(_) | Self::Named(_) if !self.is_scalar() => {
                for (key, value) in self.pairs() {
                    begin(out);
                    out.push_str(&plain(key));
                    out.push(':');
                    if value.is_scalar() {
                        out.push(' ');
                    } else {
                        out.push('\n');
                    }
                    value.write_yaml(out, depth + 1, value.is_scalar());
                }
            }
            scalar => {
                out.push_str(&scalar.scalar());
                out.push('\n');
            }
        }
    }

    /// The keys and values of a map.
    fn pairs(&self) -> Vec<(&str, &Self)> {
        match self {
            Self::Map(pairs) => pairs.iter().map(|(key, value)| (*key, value)).collect(),
            Self::Named(pairs) => pairs.iter().map(|(key, value)| (key.as_str(), value)).collect(),
            _ => Vec::new(),
        }
    }

    fn is_scalar(&self) -> bool {
        match self {
            Self::List(items) => items.is_empty(),
            Self::Map(pairs) => pairs.is_empty(),
            Self::Named(pairs) => pairs.is_empty(),
            _ => true,
        }
    }

    /// What fits on one line; of YAML.
    fn scalar(&self) -> String {
        match self {
            Self::Bool(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(text) => plain(text),
            Self::List(_) => "[]".to_owned(),
            Self::Map(_) | Self::Named(_) => "{}".to_owned(),
        }
    }
}

/// A text of YAML, in quotes where it could be taken for anything else. A text of JSON is one of YAML as well.
fn plain(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    let words = [
        "true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf",
    ];
    if text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(fits)
        && !words.contains(&text.to_ascii_lowercase().as_str())
    {
        text.to_owned()
    } else {
        quoted(text)
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
