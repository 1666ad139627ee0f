//! What holds of the query parameters of any request.

use axum::response::IntoResponse;

use super::query;

pub(crate) fn query(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    for read in [query::list, query::watch] {
        match (read(Some(text)), read(Some(text))) {
            (Ok(first), Ok(second)) => {
                assert_eq!(format!("{first:?}"), format!("{second:?}"));
                assert!(first.limit != Some(0));
                let _ = first.selection.may_match("web.service.consul");
            }
            (Err(first), Err(second)) => {
                assert_eq!(format!("{first:?}"), format!("{second:?}"));
                assert_eq!(first.into_response().status(), 400);
            }
            _ => panic!("two readings differ: {text:?}"),
        }
    }
    let _ = query::none(Some(text));
}
