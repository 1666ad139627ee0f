//! Files that are not what was once written: an error that names what is wrong, never a panic, never much memory.

use std::fs;
use std::io::{Seek, SeekFrom, Write};

use super::super::decode::decode;
use super::*;

/// The store with a small file in it, the path of the file, and its content.
fn written() -> (tempfile::TempDir, Store, std::path::PathBuf, Vec<u8>) {
    let (directory, store) = store();
    store.save(&id(), &small()).unwrap();
    let path = store.path(&id());
    let content = fs::read(&path).unwrap();
    (directory, store, path, content)
}

/// The error of loading a file with that content, which has to name the file.
fn error_of(content: &[u8]) -> StoreError {
    let (_directory, store, path, _) = written();
    fs::write(&path, content).unwrap();
    let error = load(&store).expect_err("nothing of it is to be believed");
    assert!(error.to_string().contains(&path.display().to_string()), "{error}");
    error
}

/// Changes one byte of a file in place: to write all of it anew for each would take minutes.
fn put(file: &mut fs::File, at: usize, byte: u8) {
    file.seek(SeekFrom::Start(at as u64)).unwrap();
    file.write_all(&[byte]).unwrap();
}

#[test]
fn a_file_cut_off_anywhere_is_damaged() {
    let (_directory, store, path, content) = written();
    let file = fs::File::options().write(true).open(path).unwrap();
    for length in (0..content.len()).rev() {
        file.set_len(length as u64).unwrap();
        let error = load(&store).expect_err("a part is not the whole");
        assert!(matches!(error, StoreError::Damaged { .. }), "{length}: {error}");
    }
}

#[test]
fn a_file_with_something_after_its_end_is_damaged() {
    let (.., mut content) = written();
    content.push(0);
    assert!(matches!(error_of(&content), StoreError::Damaged { .. }));
}

#[test]
fn any_byte_that_changed_is_noticed() {
    let (_directory, store, path, content) = written();
    let mut file = fs::File::options().write(true).open(path).unwrap();
    for (at, byte) in content.iter().enumerate() {
        // One bit, as disks do; and all of them.
        for flip in [1 << (at % 8), 0xFF] {
            put(&mut file, at, byte ^ flip);
            let error = load(&store).expect_err("the content is another");
            let expected = matches!(
                error,
                StoreError::Damaged { .. } | StoreError::OtherVersion { .. }
            );
            assert!(expected, "byte {at} ^ {flip:#x}: {error}");
        }
        put(&mut file, at, *byte);
    }
    assert!(load(&store).unwrap().is_some(), "all is as it was");
}

#[test]
fn no_other_byte_will_do_where_no_checksum_covers_it() {
    let (_directory, store, path, content) = written();
    let mut file = fs::File::options().write(true).open(path).unwrap();
    let end = content.iter().position(|byte| *byte == b'\n').unwrap();
    let digits = content[..end].iter().rposition(|byte| *byte == b'"').unwrap();
    // What closes the line, the blanks and the end of line; a letter of the checksum in upper case is no byte of it.
    for (at, byte) in content.iter().enumerate().take(end + 1).skip(digits - 32) {
        for value in (0..=u8::MAX).filter(|value| value != byte) {
            put(&mut file, at, value);
            assert!(load(&store).is_err(), "byte {at} is {value:#x}");
        }
        put(&mut file, at, *byte);
    }
}

/// Behind the checksum, as a file would be that somebody made on purpose.
#[test]
fn no_body_makes_the_decoder_panic_or_take_much_memory() {
    let (.., content) = written();
    let start = content.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let body = &content[start..];
    assert_eq!(decode(body).unwrap().len(), 2);
    let judge = |body: &[u8]| {
        let info = allocation_counter::measure(|| drop(decode(body)));
        assert!(
            info.bytes_max < 64 * 1024,
            "{} bytes for {body:?}",
            info.bytes_max
        );
    };
    for length in 0..body.len() {
        judge(&body[..length]);
    }
    for at in 0..body.len() {
        let mut changed = body.to_vec();
        for value in 0..=u8::MAX {
            changed[at] = value;
            judge(&changed);
        }
    }
    // A number that goes on for ever, and lists and texts that say they are longer than memory.
    let endless = [0xFF; 64];
    let huge = [0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
    judge(&endless);
    for entry in 0..6_u8 {
        judge(&[&[entry][..], &endless].concat());
        judge(&[&[entry][..], &huge].concat());
        judge(&[&[entry][..], &huge, &[0; 200]].concat());
        judge(&[&[entry][..], &[0; 3], &huge, &[0; 200]].concat());
    }
}

#[test]
fn a_length_that_the_file_does_not_have_is_never_allocated() {
    let (.., content) = written();
    let text = String::from_utf8_lossy(&content).into_owned();
    let (before, after) = text.split_once(r#""length":"#).unwrap();
    let after = after.trim_start_matches(|c: char| c.is_ascii_digit());
    let forged = format!(r#"{before}"length":18446744073709551615{after}"#);
    let (_directory, store, path, _) = written();
    fs::write(&path, forged).unwrap();
    let mut error = None;
    let info = allocation_counter::measure(|| error = load(&store).err());
    assert!(matches!(error, Some(StoreError::Damaged { .. })), "{error:?}");
    assert!(info.bytes_max < 64 * 1024, "{} bytes", info.bytes_max);
}

#[test]
fn what_is_no_state_file_is_told_with_what_was_expected() {
    for (content, told) in [
        ("", "an empty file"),
        ("\n", "cannot be read"),
        ("services: []\n", "cannot be read"),
        ("{}\n", "missing field `format`"),
        ("[1,2]\n", "cannot be read"),
        (r#"{"format":"tar","version":1}"#, "no end of line in 28 bytes"),
        ("{\"format\":\"tar\",\"version\":1}\n", "format \"tar\""),
        ("{\"format\":\"registry-state\",\"version\":2}\n", "missing field"),
    ] {
        let error = error_of(content.as_bytes());
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{content:?}: {error}"
        );
        assert!(error.to_string().contains(told), "{content:?}: {error}");
    }
}

#[test]
fn a_first_line_without_end_is_not_read_to_its_end() {
    let error = error_of(&vec![b' '; 3 << 20]);
    assert!(
        error.to_string().contains("no end of line in 1048576 bytes"),
        "{error}"
    );
}

#[test]
fn another_version_is_told_whatever_else_it_has() {
    let error = error_of(b"{\"format\":\"registry-state\",\"version\":5,\"compressed\":true}\nabc");
    let StoreError::OtherVersion { found, expected, .. } = error else {
        panic!("{error}");
    };
    assert_eq!((found, expected), (5, 4));
}

#[test]
fn the_state_of_another_target_kind_or_name_is_not_taken() {
    let (_directory, store, path, _) = written();
    let other: RegistryId = "other".parse().unwrap();
    fs::copy(&path, store.path(&other)).unwrap();
    for (id, kind, target) in [
        (&id(), KIND, "http://10.0.0.1:8500"),
        (&id(), "nomad", TARGET),
        (&other, KIND, TARGET),
    ] {
        let error = store.load(id, kind, target).unwrap_err();
        assert!(matches!(error, StoreError::OtherTarget { .. }), "{error}");
        let told = error.to_string();
        assert!(
            told.contains(target) && told.contains("consul registry consul-dc1 at http://127.0.0.1:8500"),
            "{told}"
        );
    }
    assert!(load(&store).unwrap().is_some(), "the file stays as it is");
}

#[test]
fn only_a_regular_file_is_opened() {
    let (_directory, store, path, content) = written();
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let error = load(&store).unwrap_err();
    assert!(
        matches!(
            error,
            StoreError::NotAFile {
                found: "a directory",
                ..
            }
        ),
        "{error}"
    );
    let error = store.save(&id(), &small()).unwrap_err();
    assert!(matches!(error, StoreError::Write { .. }), "{error}");
    fs::remove_dir(&path).unwrap();

    #[cfg(unix)]
    {
        let elsewhere = path.with_extension("elsewhere");
        fs::write(&elsewhere, &content).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let error = load(&store).unwrap_err();
        assert!(
            matches!(
                error,
                StoreError::NotAFile {
                    found: "a symbolic link",
                    ..
                }
            ),
            "{error}"
        );
        // A save takes the place of the link and leaves alone what it leads to.
        store.save(&id(), &saved(Vec::new())).unwrap();
        assert_eq!(fs::read(&elsewhere).unwrap(), content);
        assert!(load(&store).unwrap().is_some());
        fs::remove_file(&path).unwrap();

        let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let error = load(&store).unwrap_err();
        assert!(matches!(error, StoreError::NotAFile { .. }), "{error}");
    }
}

#[cfg(unix)]
#[test]
fn a_file_without_permission_is_an_error() {
    use std::os::unix::fs::PermissionsExt;

    let (_directory, store, path, _) = written();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(&path).is_err() {
        let error = load(&store).unwrap_err();
        assert!(matches!(error, StoreError::Read { .. }), "{error}");
    }
}
