//! The conformance suite, and backends that are to fail it.

mod broken;
mod memory;
mod waker;

use registry_testkit::conformance::{Options, Report, Rule, Trouble, check};

use self::memory::Memory;

#[tokio::test(start_paused = true)]
async fn only_what_is_asked_for_is_reported() {
    let rules = |report: &Report| -> Vec<Rule> { report.entries().iter().map(|entry| entry.rule).collect() };
    let report = check(&Memory(None), &Options::only(&[Rule::SeesHealth])).await;
    assert_eq!(rules(&report), [Rule::SeesHealth], "{report}");
    report.assert_passed();

    let mut options = Options::without(&[Rule::DescribesItself]);
    options.troubles = vec![Trouble::Denial];
    let report = check(&Memory(None), &options).await;
    assert_eq!(rules(&report), Rule::ALL[1..], "{report}");
    report.assert_passed();
}

#[test]
fn the_documentation_lists_every_rule() {
    let page = include_str!("../../../docs/testing-a-backend.md");
    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    let rules: Vec<String> = Rule::ALL
        .iter()
        .map(|rule| format!("| `{rule}` | {} |", rule.contract()))
        .collect();
    let listed: Vec<&str> = rows.into_iter().filter(|row| row.ends_with(". |")).collect();
    assert_eq!(listed, rules);
}
