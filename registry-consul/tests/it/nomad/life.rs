//! The life of jobs, nodes and namespaces, step by step.

use registry_consul::ChecksConfig;
use registry_testkit::nomad::{Job, unique, worlds};
use registry_testkit::witness::Witness;

use super::{NODE, discover, until_jobs, world_config};
use crate::support::{ready, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_job_is_followed_from_its_registration_to_its_purge() {
    let _shared = NODE.read().await;
    for world in worlds(false).await.unwrap() {
        let prefix = unique("life");
        let world = &*world;
        let kept = Job::new(format!("{prefix}-kept")).count(2);
        let job = Job::new(format!("{prefix}-job"));
        world.run(&kept).await.unwrap();
        let (config, _token) = world_config(world, &prefix);
        let discovery = discover(config);
        ready(&discovery).await;
        let registered = "registered";
        until_jobs("the start", &discovery, world, &[(&kept, 2, registered)]).await;
        let witness = Witness::call(&discovery);

        for count in [2, 4, 1, 3] {
            world.run(&job.clone().count(count)).await.unwrap();
            let jobs = [(&kept, 2, registered), (&job, usize::from(count), registered)];
            until_jobs(&format!("scaled to {count}"), &discovery, world, &jobs).await;
        }
        world
            .run(&job.clone().count(3).tagged(&["v2", "blue"]))
            .await
            .unwrap();
        until("other tags", &discovery, |snapshot| {
            let service = snapshot.get(&format!("{}.default", job.name()));
            service.is_some_and(|service| {
                let mut endpoints = service.endpoints().iter();
                endpoints.all(|endpoint| {
                    endpoint.labels().get("nomad.tags").map(|value| &**value) == Some("blue,v2")
                })
            })
        })
        .await;
        world.stop(&job, false).await.unwrap();
        until_jobs(
            "stopped",
            &discovery,
            world,
            &[(&kept, 2, registered), (&job, 0, "")],
        )
        .await;
        world.run(&job.clone().count(1)).await.unwrap();
        until_jobs(
            "again",
            &discovery,
            world,
            &[(&kept, 2, registered), (&job, 1, registered)],
        )
        .await;
        world.stop(&job, true).await.unwrap();
        until_jobs(
            "purged",
            &discovery,
            world,
            &[(&kept, 2, registered), (&job, 0, "")],
        )
        .await;

        witness.saw_everything("while another job came and went", &discovery);
        drop(witness);
        world.stop(&kept, true).await.unwrap();
        until_jobs("all gone", &discovery, world, &[(&kept, 0, "")]).await;
        discovery.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_fails_makes_an_instance_unhealthy_until_it_passes() {
    let _shared = NODE.read().await;
    for world in worlds(false).await.unwrap() {
        let prefix = unique("checked");
        let world = &*world;
        let job = Job::new(&prefix).count(2).checked();
        world.run(&job).await.unwrap();
        world.set_passing(&job, true).await.unwrap();
        let (mut config, _token) = world_config(world, &prefix);
        config.checks = Some(ChecksConfig {
            interval: std::time::Duration::from_secs(1),
            ..ChecksConfig::default()
        });
        let discovery = discover(config);
        ready(&discovery).await;
        for (passes, status, routable) in [
            (true, "success", true),
            (false, "failure", false),
            (true, "success", true),
        ] {
            world.set_passing(&job, passes).await.unwrap();
            until_jobs(status, &discovery, world, &[(&job, 2, status)]).await;
            let snapshot = discovery.snapshot();
            let service = snapshot.get(&format!("{prefix}.default")).unwrap();
            assert!(
                service
                    .endpoints()
                    .iter()
                    .all(|one| one.health().routable() == routable)
            );
        }
        world.stop(&job, true).await.unwrap();
        until_jobs("purged", &discovery, world, &[(&job, 0, "")]).await;
        discovery.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_drained_takes_its_instances_and_gives_them_back() {
    let _alone = NODE.write().await;
    for world in worlds(false).await.unwrap() {
        let prefix = unique("drained");
        let world = &*world;
        let jobs = [1, 2].map(|number| Job::new(format!("{prefix}-{number}")).count(2));
        for job in &jobs {
            world.run(job).await.unwrap();
        }
        let (config, _token) = world_config(world, &prefix);
        let discovery = discover(config);
        ready(&discovery).await;
        let all = |count: usize| [(&jobs[0], count, "registered"), (&jobs[1], count, "registered")];
        until_jobs("the start", &discovery, world, &all(2)).await;

        world.drain(true).await.unwrap();
        until("nothing", &discovery, |snapshot| snapshot.is_empty()).await;
        until_jobs("drained", &discovery, world, &all(0)).await;
        world.drain(false).await.unwrap();
        for job in &jobs {
            world.run(job).await.unwrap();
        }
        until_jobs("back", &discovery, world, &all(2)).await;
        for job in &jobs {
            world.stop(job, true).await.unwrap();
        }
        until_jobs("purged", &discovery, world, &all(0)).await;
        discovery.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_comes_and_goes_changes_nothing_of_another() {
    let _shared = NODE.read().await;
    for world in worlds(false).await.unwrap() {
        let prefix = unique("spaces");
        let world = &*world;
        let here = Job::new(&prefix).count(2);
        world.run(&here).await.unwrap();
        let (config, _token) = world_config(world, &prefix);
        let discovery = discover(config);
        ready(&discovery).await;
        until_jobs("the start", &discovery, world, &[(&here, 2, "registered")]).await;
        let witness = Witness::call(&discovery);

        // Twice: the stream that was open when it came first knew nothing of it.
        let young = unique("young");
        let there = here.clone().within(&young).count(1);
        for _ in 0..2 {
            world.add_namespace(&young).await.unwrap();
            world.run(&there).await.unwrap();
            let both = [(&here, 2, "registered"), (&there, 1, "registered")];
            until_jobs("the same name in two namespaces", &discovery, world, &both).await;
            world.stop(&there, true).await.unwrap();
            until_jobs(
                "one of them gone",
                &discovery,
                world,
                &[(&here, 2, "registered"), (&there, 0, "")],
            )
            .await;
            world.remove_namespace(&young).await.unwrap();
        }
        witness.saw_everything("while a namespace came and went", &discovery);
        drop(witness);
        world.stop(&here, true).await.unwrap();
        until_jobs("purged", &discovery, world, &[(&here, 0, "")]).await;
        discovery.shutdown().await;
    }
}
