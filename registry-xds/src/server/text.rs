//! What is said to peers, and what of theirs is fit for a log or a message.

use tonic::Status;

/// How streams end when their connection does, whatever the reason.
pub(super) fn ends() -> Status {
    Status::unavailable("the server ends this connection: connect again")
}

/// On one line, and no longer than that many characters.
pub(super) fn short(text: &str, most: usize) -> String {
    let shown = text.chars().take(most);
    let mut short: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}
