//! What code under test logs is heard, whoever else comes by.

use registry_testkit::log::Everything;

fn here() {
    tracing::info!(number = 1, "here");
}

#[test]
fn a_thread_that_does_not_listen_silences_nobody() {
    let log = Everything::default();
    let listening = log.listen();
    // The first to come by decides what `tracing` remembers of the place.
    std::thread::spawn(here).join().unwrap();
    assert_eq!(log.text(), "", "that thread does not listen");
    here();
    assert_eq!(log.text(), "INFO it::log message=here number=1\n");
    drop(listening);
    here();
    assert_eq!(log.count("here"), 1);
}

#[test]
fn spans_are_written_down_with_what_is_recorded_later() {
    let log = Everything::default();
    let _listening = log.listen();
    let span = tracing::debug_span!("asking", url = "http://h", status = tracing::field::Empty);
    span.record("status", 403);
    assert_eq!(log.text(), "asking url=\"http://h\"\n status=403\n");
}
