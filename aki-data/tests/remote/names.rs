//! Names of remote shards, and what is said of them beside them.

use aki_data::shards::{declared_samples, expand_shards};
use proptest::prelude::*;

use super::server::{Content, Fault, Server};
use super::{quick, shards, tar};

#[test]
fn braces_stand_for_urls_and_a_query_is_sent_but_not_shown() {
    let server = Server::start();
    server.put("/a%20b/1.tar", Content::new(tar(1, 2), None));
    let all = shards(&[format!("{}/{{0..2}}.tar?key=secret", server.url("/a%20b"))]);
    let names: Vec<_> = all
        .iter()
        .map(|shard| shard.name().display().to_string())
        .collect();
    let expected = ["0", "1", "2"].map(|number| server.url(&format!("/a%20b/{number}.tar")));
    assert_eq!(names, expected);
    assert!(!format!("{all:?}").contains("secret"));
    assert_eq!(super::read(&all[1..2], &quick()).len(), 2);
    assert_eq!(
        server.requests("/a%20b/1.tar")[0].target,
        "/a%20b/1.tar?key=secret"
    );
    // The same URL is the same shard.
    let url = server.url("/x.tar");
    assert_eq!(shards(&[url.clone(), url]).len(), 1);
}

#[test]
fn names_that_cannot_be_used_are_told() {
    for (name, told) in [
        ("http://host/*.tar", "braces"),
        ("http://user:word@host/a.tar", "leave them out"),
        ("http:///", "no URL"),
        ("ftp://host/a.tar", "s3"),
        ("://a.tar", "s3"),
        ("s3://bucket", "s3://BUCKET/FOLDER/*.tar"),
        ("s3://bucket/folder/", "s3://BUCKET/FOLDER/*.tar"),
        ("s3:///a.tar", "s3://BUCKET/FOLDER/*.tar"),
        ("s3://bucket/a//b.tar", "empty"),
        ("s3://bucket/{a", "not closed"),
        ("s3://bucket/[a.tar", "Pattern"),
    ] {
        let error = expand_shards(&[name.to_owned()], &quick()).expect_err(name);
        assert!(error.to_string().contains(told), "{name}: {error}");
    }
}

#[test]
fn sizes_are_read_where_they_are() {
    let server = Server::start();
    let shards = shards(&[server.url("/f/{0..1}.tar?key=secret")]);
    let count = || declared_samples(&shards, &quick());
    assert_eq!(count().expect("none"), None);
    server.put("/f/__len__", Content::new(b"70\n".to_vec(), None));
    assert_eq!(count().expect("a count"), Some(70));
    let sizes = br#"{"0.tar": 3, "1.tar": 4}"#;
    server.put("/f/sizes.json", Content::new(sizes.to_vec(), None));
    server.fail("/f/sizes.json", [Fault::Cut(5)]);
    assert_eq!(count().expect("sizes"), Some(7));
    server.fail("/f/sizes.json", [Fault::Status("403 Forbidden")]);
    assert_eq!(count().expect("another count"), Some(70));
    server.fail(
        "/f/sizes.json",
        (0..3).map(|_| Fault::Status("500 Internal Server Error")),
    );
    let error = count().expect_err("no server").to_string();
    assert!(
        error.contains("/f/sizes.json: the server answered 500"),
        "{error}"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_name_is_a_shard_or_refused(
        name in r"(http|https|s3|gs|az|ftp)://[a-z0-9:/@%{},.#~é -]{0,16}",
    ) {
        match expand_shards(std::slice::from_ref(&name), &quick()) {
            Ok(shards) => prop_assert!(!shards.is_empty()),
            Err(error) => prop_assert!(error.to_string().contains(&name), "{error}"),
        }
    }
}
