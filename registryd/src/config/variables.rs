//! Variables of the environment in texts: `${VAR}`, and `${VAR:-default}` for where it is unset or empty.
//!
//! Only values are expanded, never keys, and only after the document was read: what a variable holds cannot change the
//! document's structure. `$${` stands for a literal `${`.

use super::problem::Problem;
use super::tree::{Node, Step, Value, display_path};

/// How a variable is looked up.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Expands all texts of a document; what cannot be expanded is taken out and reported.
pub(crate) fn expand(tree: &mut Node, file: &str, lookup: Lookup<'_>) -> Vec<(Vec<Step>, Problem)> {
    let mut faults = Vec::new();
    walk(tree, &mut Vec::new(), lookup, &mut |path, node, fault| {
        // Nobody reads more, and to take each of them out costs a walk through its mapping.
        if faults.len() >= super::MOST_PROBLEMS {
            return;
        }
        let problem = Problem {
            file: file.to_owned(),
            place: node.place,
            path: display_path(path),
            found: fault.found,
            expected: fault.expected,
            hint: None,
        };
        faults.push((path.to_vec(), problem));
    });
    for (path, _) in &faults {
        tree.take_out(path);
    }
    faults
}

#[derive(Debug)]
struct Wrong {
    found: String,
    expected: String,
}

fn walk(
    node: &mut Node,
    path: &mut Vec<Step>,
    lookup: Lookup<'_>,
    report: &mut dyn FnMut(&[Step], &Node, Wrong),
) {
    match &mut node.value {
        Value::Text(text) if text.contains("${") => match expand_text(text, lookup) {
            Ok(expanded) => node.value = Value::Expanded(expanded),
            Err(wrong) => report(path, node, wrong),
        },
        Value::List(elements) => {
            for (index, element) in elements.iter_mut().enumerate() {
                path.push(index.into());
                walk(element, path, lookup, report);
                path.pop();
            }
        }
        Value::Map(pairs) => {
            for pair in pairs {
                path.push(Step::Key(pair.key.clone()));
                walk(&mut pair.value, path, lookup, report);
                path.pop();
            }
        }
        _ => {}
    }
}

fn expand_text(text: &str, lookup: Lookup<'_>) -> Result<String, Wrong> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("${") {
        let (before, reference) = rest.split_at(start);
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = &reference[2..];
            continue;
        }
        expanded.push_str(before);
        let Some((inside, after)) = reference[2..].split_once('}') else {
            return Err(Wrong {
                found: format!("{text:?}, in which \"${{\" is not closed"),
                expected: "${NAME} or ${NAME:-default}".to_owned(),
            });
        };
        let (name, default) = match inside.split_once(":-") {
            Some((name, default)) => (name, Some(default)),
            None => (inside, None),
        };
        let valid = name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
            && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'_');
        if !valid {
            return Err(Wrong {
                found: format!("the variable {name:?}"),
                expected: "a name of letters, digits and _, as in ${NAME} or ${NAME:-default}".to_owned(),
            });
        }
        match (
            lookup(name).filter(|value| default.is_none() || !value.is_empty()),
            default,
        ) {
            (Some(value), _) => expanded.push_str(&value),
            (None, Some(default)) => expanded.push_str(default),
            (None, None) => {
                return Err(Wrong {
                    found: format!("${{{name}}}, which the environment does not have"),
                    expected: format!(
                        "the variable {name} to be set, or a default as in ${{{name}:-default}}"
                    ),
                });
            }
        }
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup(name: &str) -> Option<String> {
        match name {
            "HOST" => Some("10.0.0.1".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn references_are_expanded() {
        for (text, expected) in [
            ("${HOST}:8500", "10.0.0.1:8500"),
            ("${HOST}${HOST}", "10.0.0.110.0.0.1"),
            ("${PORT:-8500}", "8500"),
            ("${EMPTY:-x}${EMPTY}", "x"),
            ("$${HOST} $HOST", "${HOST} $HOST"),
        ] {
            assert_eq!(
                expand_text(text, &lookup).ok().as_deref(),
                Some(expected),
                "{text}"
            );
        }
    }

    #[test]
    fn a_missing_variable_is_reported_where_it_stands() {
        let mut tree = Node::parse("a:\n  - b: \"x${NONE}\"\n    c: ok\n  - ${HOST}\n").unwrap();
        let faults = expand(&mut tree, "f.yaml", &lookup);
        let texts: Vec<String> = faults.iter().map(|(_, problem)| problem.to_string()).collect();
        assert_eq!(
            texts,
            [
                "f.yaml:2:8: a[0].b: found ${NONE}, which the environment does not have, expected the variable NONE to be set, or a default as in ${NONE:-default}"
            ]
        );
        for (text, found) in [("${HOST", "not closed"), ("${1A}", "\"1A\""), ("${}", "\"\"")] {
            let wrong = expand_text(text, &lookup).expect_err(text);
            assert!(wrong.found.contains(found), "{}", wrong.found);
        }
    }
}
