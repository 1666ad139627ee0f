//! Credentials that change, expire, or cannot be had.

use std::path::PathBuf;
use std::sync::Mutex;

use tempfile::TempDir;

use super::*;

/// A server that lets in who has this token.
async fn server_for(token: &Arc<Mutex<String>>) -> Server {
    let token = token.clone();
    Server::plain(move |head| {
        let right = format!("\r\nauthorization: bearer {}\r\n", token.lock().unwrap());
        if head.contains(&right) {
            Reply::ok("{}")
        } else {
            Reply::unauthorized()
        }
    })
    .await
}

fn token(text: &str) -> Arc<Mutex<String>> {
    Arc::new(Mutex::new(text.to_owned()))
}

/// Writes beside it and renames, as everything does that replaces a file while others read it.
fn replace(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).unwrap();
    std::fs::rename(&beside, path).unwrap();
}

/// A credential plug-in: a shell script.
struct Plugin {
    dir: TempDir,
}

impl Plugin {
    fn new(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let plugin = Self { dir };
        plugin.becomes(script);
        plugin
    }

    fn becomes(&self, script: &str) {
        // Run by a shell that exists already: a script that was just written cannot be run itself while another thread
        // is between fork and exec.
        replace(
            &self.path("plugin.sh"),
            &format!("echo run >> {}\n{script}", self.path("runs").display()),
        );
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn runs(&self) -> usize {
        std::fs::read_to_string(self.path("runs")).map_or(0, |runs| runs.lines().count())
    }

    fn user(&self) -> String {
        format!(
            "exec: {{apiVersion: client.authentication.k8s.io/v1, command: /bin/sh, args: ['{}'], interactiveMode: \
             IfAvailable, provideClusterInfo: true, env: [{{name: EXTRA, value: more}}]}}",
            self.path("plugin.sh").display()
        )
    }
}

/// A script that prints this token, good for so many seconds.
fn prints(token: &str, seconds: u32) -> String {
    format!(
        "until=$(date -u -d '+{seconds} seconds' +%Y-%m-%dT%H:%M:%SZ)\n\
         cat <<END\n{{\"kind\":\"ExecCredential\",\"apiVersion\":\"client.authentication.k8s.io/v1\",\
         \"status\":{{\"token\":\"{token}\",\"expirationTimestamp\":\"$until\"}}}}\nEND\n"
    )
}

#[tokio::test]
async fn acceptance_27_a_rotated_token_is_read_again_at_once() {
    let right = token("first");
    let server = server_for(&right).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    // Files end in a line break, tokens do not.
    replace(&file, "first\n");
    let pace = Pace {
        look_every: LAZY.look_every,
        ..EAGER
    };
    let api = of_text(
        kubeconfig(&server.url(), "", &format!("tokenFile: {}", file.display())),
        pace,
    );
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("{}"));
    replace(&file, "second\n");
    *right.lock().unwrap() = "second".to_owned();
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("{}"));
    assert_eq!(server.heads().len(), 3, "refused once, and sent again");
}

#[tokio::test]
async fn a_changed_file_is_noticed_before_anything_is_refused() {
    let right = token("first");
    let server = server_for(&right).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    replace(&file, "first");
    let api = of_text(
        kubeconfig(&server.url(), "", &format!("tokenFile: {}", file.display())),
        EAGER,
    );
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("{}"));
    replace(&file, "second");
    *right.lock().unwrap() = "second".to_owned();
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("{}"));
    assert_eq!(server.heads().len(), 2);
}

#[tokio::test]
async fn credentials_that_stay_wrong_are_tried_twice() {
    let server = Server::plain(|_| Reply::unauthorized()).await;
    let text = kubeconfig(&server.url(), "", "token: geheim");
    let refused = refusal(&of_text(text.clone(), EAGER), get("/x")).await;
    assert_eq!(refused.class, Class::Unauthenticated);
    assert_eq!(refused.error.kind(), ErrorKind::Denied);
    assert_eq!(
        refused.error.report(),
        format!(
            "GET {}/x: 401 Unauthorized (with the credentials of /nowhere/cluster.yaml)",
            server.url()
        )
    );
    assert_eq!(server.heads().len(), 2);
    // What was read a moment ago is not read again.
    let refused = refusal(&of_text(text, LAZY), get("/x")).await;
    assert_eq!(refused.class, Class::Unauthenticated);
    assert_eq!(server.heads().len(), 3);
}

#[tokio::test]
async fn acceptance_27_a_plugin_is_run_again_before_its_token_expires() {
    let server = server_for(&token("t")).await;
    let plugin = Plugin::new(&prints("t", 3));
    let pace = Pace {
        look_every: LAZY.look_every,
        ..EAGER
    };
    let api = of_text(kubeconfig(&server.url(), "", &plugin.user()), pace);
    let asking = async {
        while plugin.runs() < 3 {
            assert_eq!(text_of(&api, "/").await.as_deref(), Ok("{}"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap();
    assert!(server.heads().iter().all(|head| head.contains("bearer t")));
}

#[tokio::test]
async fn many_that_are_refused_at_once_share_one_run_of_the_plugin() {
    let right = token("first");
    let server = server_for(&right).await;
    let plugin = Plugin::new(&prints("first", 3600));
    let api = of_text(kubeconfig(&server.url(), "", &plugin.user()), EAGER);
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("{}"));
    plugin.becomes(&format!("sleep 0.5\n{}", prints("second", 3600)));
    *right.lock().unwrap() = "second".to_owned();
    let asks = (0..10).map(|_| text_of(&api, "/"));
    for answer in futures_util::future::join_all(asks).await {
        assert_eq!(answer.as_deref(), Ok("{}"));
    }
    assert_eq!(plugin.runs(), 2);
}

#[tokio::test]
async fn acceptance_27_a_plugin_that_fails_leaves_the_old_credentials_in_use() {
    let right = token("t");
    let server = server_for(&right).await;
    let plugin = Plugin::new(&prints("t", 1));
    let api = of_text(kubeconfig(&server.url(), "", &plugin.user()), EAGER);
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("{}"));
    plugin.becomes("echo geheim; echo geheim >&2; exit 3");
    let asking = async {
        while plugin.runs() < 3 {
            assert_eq!(text_of(&api, "/").await.as_deref(), Ok("{}"));
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap();
    *right.lock().unwrap() = "other".to_owned();
    let refused = refusal(&api, get("/")).await;
    assert_eq!(refused.class, Class::Unauthenticated);
    let text = refused.error.report();
    let expected = "401 Unauthorized; newer credentials cannot be read: /nowhere/cluster.yaml: context \"here\": \
                    user.exec: /bin/sh failed (exit status: 3); what it says by itself may tell why";
    assert!(text.ends_with(expected), "{text}");
}

#[tokio::test]
async fn what_a_plugin_prints_is_never_shown() {
    for script in [
        "echo geheim; echo geheim >&2; exit 3",
        "echo geheim",
        r#"echo '{"kind":"geheim"}'"#,
        r#"echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":{"token":"ge heim"}}'"#,
        "head -c 3000000 /dev/zero | tr '\\0' g",
    ] {
        let plugin = Plugin::new(script);
        let api = of_text(kubeconfig("http://127.0.0.1:9", "", &plugin.user()), LAZY);
        let refused = refusal(&api, get("/")).await;
        assert_eq!(refused.error.kind(), ErrorKind::Configuration);
        let text = refused.error.report();
        assert!(
            text.starts_with("/nowhere/cluster.yaml: context \"here\": user.exec: "),
            "{text}"
        );
        assert!(
            !text.contains("geheim") && !text.contains("heim") && !text.contains("ggg"),
            "{text}"
        );
        assert!(!format!("{api:?}").contains("geheim"));
    }
}

#[tokio::test]
async fn a_plugin_that_hangs_is_ended_with_all_that_it_started() {
    let plugin = Plugin::new("");
    let started = plugin.path("started");
    plugin.becomes(&format!("sleep 1000 &\necho $! > {}\nwait", started.display()));
    let origin = Origin::Text {
        kubeconfig: Arc::new(kubeconfig("http://127.0.0.1:9", "", &plugin.user()).into()),
        place: "x".to_owned(),
        trusted: true,
    };
    let deadline = Duration::from_secs(5);
    let api = ApiServer::with(&config(), origin, nothing(), LAZY, deadline);
    // Who does not wait so long is told what is awaited.
    let hasty = Ask {
        patience: Duration::from_millis(50),
        ..get("/x")
    };
    let refused = refusal(&api, hasty).await;
    assert_eq!(
        refused.error.report(),
        "GET /x: no credentials within 50ms, they are still awaited"
    );
    let refused = refusal(&api, get("/")).await;
    let expected =
        "x: context \"here\": user.exec: /bin/sh was ended, having printed no credentials within 5s";
    assert_eq!(refused.error.report(), expected);
    assert_eq!(plugin.runs(), 1);
    let sleeper = std::fs::read_to_string(started).unwrap();
    let process = PathBuf::from(format!("/proc/{}/stat", sleeper.trim()));
    let is_over = || {
        // Ended, although nobody may have asked for its status yet.
        std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "))
    };
    let ended = async {
        while !is_over() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, ended).await.unwrap();
}

#[tokio::test]
async fn a_plugin_is_told_what_it_is_asked_for() {
    let server = server_for(&token("more-false-v1-127")).await;
    let plugin = Plugin::new("");
    plugin.becomes(&format!(
        "v=$(echo \"$KUBERNETES_EXEC_INFO\" | sed 's/.*k8s.io.\\(v1\\)\".*/\\1/')\n\
         i=$(echo \"$KUBERNETES_EXEC_INFO\" | sed 's/.*interactive\":\\([a-z]*\\).*/\\1/')\n\
         c=$(echo \"$KUBERNETES_EXEC_INFO\" | sed 's/.*\"server\":\"http:..\\([0-9]*\\).*/\\1/')\n{}",
        prints("$EXTRA-$i-$v-$c", 3600)
    ));
    let api = of_text(kubeconfig(&server.url(), "", &plugin.user()), LAZY);
    assert_eq!(
        text_of(&api, "/").await.as_deref(),
        Ok("{}"),
        "{:?}",
        server.heads()
    );
}

#[tokio::test]
async fn a_kubeconfig_that_is_replaced_leads_to_another_server() {
    let [old, new] = [
        Server::plain(|_| Reply::ok("old")).await,
        Server::plain(|_| Reply::ok("new")).await,
    ];
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    replace(&file, &kubeconfig(&old.url(), "", ""));
    let api = of_file(&file, EAGER);
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("old"));
    // Broken, or gone for a while: what was read before is as good as it was.
    replace(&file, "users: geheim");
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("old"));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("old"));
    replace(&file, &kubeconfig(&new.url(), "", ""));
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("new"));
}

#[tokio::test]
async fn a_kubeconfig_that_comes_later_is_read_when_it_has_come() {
    let server = Server::plain(|_| Reply::ok("{}")).await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config");
    let api = of_file(&file, EAGER);
    let refused = refusal(&api, get("/")).await;
    assert_eq!(
        (refused.class, refused.error.kind()),
        (Class::Trouble, ErrorKind::Configuration)
    );
    replace(&file, &kubeconfig(&server.url(), "", ""));
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("{}"));
}

#[tokio::test]
async fn a_change_of_files_is_looked_for_when_access_is_forbidden() {
    let right = token("first");
    let shared = right.clone();
    let server = Server::plain(move |head| {
        if head.contains(&format!("bearer {}\r\n", shared.lock().unwrap())) {
            Reply::ok("{}")
        } else {
            Reply::of("403 Forbidden", "", "no")
        }
    })
    .await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    replace(&file, "first");
    let pace = Pace {
        look_every: LAZY.look_every,
        ..EAGER
    };
    let api = of_text(
        kubeconfig(&server.url(), "", &format!("tokenFile: {}", file.display())),
        pace,
    );
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("{}"));
    *right.lock().unwrap() = "second".to_owned();
    assert_eq!(refusal(&api, get("/")).await.class, Class::Forbidden);
    assert_eq!(
        server.heads().len(),
        2,
        "the same credentials are not tried again"
    );
    replace(&file, "second");
    assert_eq!(text_of(&api, "/").await.as_deref(), Ok("{}"));
}

#[tokio::test]
async fn credentials_that_cannot_be_used_name_their_field() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    let empty = empty.path().display();
    for (cluster, user, expected) in [
        (
            "",
            "tokenFile: /nowhere/token".to_owned(),
            "tokenFile /nowhere/token: cannot be read: No such file".to_owned(),
        ),
        (
            "",
            format!("tokenFile: {empty}"),
            format!("tokenFile {empty}: found nothing, expected a token"),
        ),
        (
            "",
            "token: 'ge heim'".to_owned(),
            "token: found blanks".to_owned(),
        ),
        (
            "",
            "token: geheim, username: me, password: geheim".to_owned(),
            "user.username: found beside a token".to_owned(),
        ),
        (
            "",
            "auth-provider: {name: oidc, config: {id-token: geheim}}".to_owned(),
            "user.auth-provider: found one".to_owned(),
        ),
        (
            "certificate-authority: /nowhere/ca",
            String::new(),
            "certificate-authority /nowhere/ca: cannot be read: No such file".to_owned(),
        ),
        (
            "certificate-authority-data: 'ge heim'",
            String::new(),
            "certificate-authority-data: found no base64".to_owned(),
        ),
        (
            "certificate-authority-data: Z2VoZWlt",
            String::new(),
            "certificate-authority-data: found no certificate".to_owned(),
        ),
        (
            "proxy-url: 'ftp://geheim@p'",
            String::new(),
            "proxy-url: found another scheme".to_owned(),
        ),
        (
            "",
            "client-certificate: /nowhere/c, client-key: /nowhere/k".to_owned(),
            "client certificate: failed to load".to_owned(),
        ),
        (
            "",
            "client-certificate-data: Z2VoZWlt, client-key-data: Z2VoZWlt".to_owned(),
            "certificates: identity PEM".to_owned(),
        ),
        (
            "",
            "as: \"geheim\\n\"".to_owned(),
            "user.as: found what cannot be sent".to_owned(),
        ),
    ] {
        let api = of_text(kubeconfig("https://127.0.0.1:9", cluster, &user), LAZY);
        let refused = refusal(&api, get("/")).await;
        let text = refused.error.report();
        assert_eq!(refused.error.kind(), ErrorKind::Configuration, "{text}");
        assert!(
            text.starts_with("/nowhere/cluster.yaml: ") && text.contains(&expected),
            "{text}"
        );
        assert!(!text.contains("geheim") && !text.contains("Z2VoZWlt"), "{text}");
    }
}
