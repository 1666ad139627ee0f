//! What comes from a peer, fit for a log or a message.

/// On one line, and no longer than that many characters.
pub(super) fn short(text: &str, most: usize) -> String {
    let shown = text.chars().take(most);
    let mut short: String = shown.map(|c| if c.is_control() { ' ' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        short.push('…');
    }
    short
}
