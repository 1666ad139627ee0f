//! ACLs: what is denied in so many words, and what is not.

use std::time::Duration;

use registry_testkit::nomad::{Job, unique, worlds};
use tokio::time::timeout;

use super::{DEADLINE, event};

const UNKNOWN: &str = "99999999-9999-9999-9999-999999999999";

/// How long a stream of somebody with the right to it takes at most to say so on a busy machine is not known, so that a
/// silence proves little; it is looked at for so long.
const SILENCE: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn one_namespace_is_denied_and_all_of_them_are_an_empty_list_with_index_0() {
    for world in worlds(true).await.unwrap() {
        let (one, two) = (unique("one"), unique("two"));
        for namespace in [&one, &two] {
            world.add_namespace(namespace).await.unwrap();
            world.run(&Job::new("web").within(namespace)).await.unwrap();
        }
        let reader = world.grant(&unique("reader"), &[&one]).await.unwrap();
        let nobody = world.grant(&unique("nobody"), &[]).await.unwrap();
        let of_one = format!("/v1/services?namespace={one}");
        let of_two = format!("/v1/services?namespace={two}");
        let web = format!("/v1/service/web?namespace={two}");
        for (token, path, status) in [
            (Some(reader.as_str()), &of_one, 200),
            (Some(&reader), &of_two, 403),
            (Some(&reader), &web, 403),
            (Some(&nobody), &of_one, 403),
            (Some(UNKNOWN), &of_one, 403),
            (Some(UNKNOWN), &"/v1/services?namespace=*".to_owned(), 403),
            (None, &of_one, 403),
            (None, &web, 403),
        ] {
            let answer = world.api().with_token(token).get(path).await.unwrap();
            assert_eq!(answer.status, status, "{token:?} {path}");
            if status == 403 {
                assert_eq!(answer.text, "Permission denied", "{token:?} {path}");
            }
        }
        for token in [None, Some(nobody.as_str())] {
            let all = world
                .api()
                .with_token(token)
                .get("/v1/services?namespace=*")
                .await
                .unwrap();
            assert_eq!(
                (all.status, all.text.as_str(), all.index()),
                (200, "[]", Some(0)),
                "{token:?}"
            );
        }
        let all = world
            .api()
            .with_token(Some(&reader))
            .get("/v1/services?namespace=*")
            .await
            .unwrap();
        assert!(
            all.text.contains(&one) && !all.text.contains(&two),
            "{}",
            all.text
        );
        assert!(all.index() > Some(0));

        for namespace in [one, two] {
            world
                .stop(&Job::new("web").within(&namespace), true)
                .await
                .unwrap();
            world.remove_namespace(&namespace).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_the_right_to_it_has_status_200_and_says_nothing() {
    for world in worlds(true).await.unwrap() {
        let own = unique("heard");
        world.add_namespace(&own).await.unwrap();
        let reader = world.grant(&unique("reader"), &[&own]).await.unwrap();
        let denied = [
            (None, "topic=Service".to_owned()),
            (Some(UNKNOWN), "topic=Service".to_owned()),
            (
                Some(reader.as_str()),
                "topic=Service&namespace=default".to_owned(),
            ),
            // There are namespaces that it may not read.
            (Some(&reader), "topic=Service&namespace=*".to_owned()),
            (Some(&reader), format!("namespace={own}")),
        ];
        for (token, query) in denied {
            let (status, mut lines) = world.api().with_token(token).events(&query).await.unwrap();
            let heard = timeout(SILENCE, lines.next()).await;
            assert!(matches!(heard, Err(_) | Ok(None)), "{token:?} {query}: {heard:?}");
            assert_eq!(status, 200);
        }
        let query = format!("topic=Service&namespace={own}");
        let (_, mut lines) = world
            .api()
            .with_token(Some(&reader))
            .events(&query)
            .await
            .unwrap();
        assert_eq!(
            timeout(DEADLINE, lines.next()).await.unwrap().as_deref(),
            Some("{}")
        );
        world.remove_namespace(&own).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_is_taken_silences_the_stream_and_leaves_parked_queries_alone() {
    for world in worlds(true).await.unwrap() {
        let (own, name) = (unique("taken"), unique("reader"));
        world.add_namespace(&own).await.unwrap();
        let job = Job::new("web").within(&own);
        let reader = world.grant(&name, &[&own]).await.unwrap();
        let api = world.api().with_token(Some(&reader));
        let list = format!("/v1/services?namespace={own}");
        let before = api.get(&list).await.unwrap().index().unwrap();
        let (_, mut lines) = api
            .events(&format!("topic=Service&namespace={own}"))
            .await
            .unwrap();
        assert_eq!(
            timeout(DEADLINE, lines.next()).await.unwrap().as_deref(),
            Some("{}")
        );
        world.run(&job).await.unwrap();
        event(&mut lines, "web").await;

        let parked = tokio::spawn({
            let index = api.get(&list).await.unwrap().index().unwrap().max(before);
            let (api, path) = (api.clone(), format!("{list}&index={index}&wait=300s"));
            async move { timeout(DEADLINE, api.get(&path)).await.unwrap().unwrap() }
        });
        // It has to be there before the right goes.
        tokio::time::sleep(Duration::from_millis(500)).await;
        world.grant(&name, &["nothing-of-note"]).await.unwrap();
        assert_eq!(api.get(&list).await.unwrap().status, 403);
        // What was told before may be on its way still: an instance is registered again when its deployment is healthy.
        while let Ok(Some(_)) = timeout(SILENCE, lines.next()).await {}
        world.run(&job.clone().count(2)).await.unwrap();
        let woken = parked.await.unwrap();
        assert_eq!(woken.status, 200, "it was allowed when it came");
        let told = async {
            while let Some(line) = lines.next().await {
                if line.contains("web") {
                    return true;
                }
            }
            false
        };
        assert!(
            !timeout(SILENCE, told).await.unwrap_or(false),
            "nothing is told any more"
        );

        world.stop(&job, true).await.unwrap();
        world.remove_namespace(&own).await.unwrap();
    }
}
