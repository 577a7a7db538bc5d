//! Buckets, which are found through the environment: so the test runs in a process of its own.

use std::process::Command;

use aki_data::shards::declared_samples;

use super::server::{Content, Fault, Server};
use super::{content, quick, read, shards, tar};

/// Set in the process that reads the buckets.
const READS: &str = "AKI_DATA_TEST_READS_BUCKETS";

#[test]
fn buckets_are_listed_and_read() {
    if std::env::var_os(READS).is_some() {
        return read_buckets();
    }
    let server = Server::start();
    for bucket in ["/s3bucket", "/gsbucket", "/azcontainer"] {
        for (shard, name) in ["0.tar", "1.tar", "2.tar", "10.tar", "sub/3.tar"]
            .iter()
            .enumerate()
        {
            let content = Content::new(tar(shard, 4), Some("\"tag\""));
            server.put(&format!("{bucket}/train/{name}"), content);
        }
        let sizes = br#"{"0.tar": 4, "1.tar": 4, "2.tar": 4, "10.tar": 4}"#;
        server.put(
            &format!("{bucket}/train/sizes.json"),
            Content::new(sizes.to_vec(), Some("x")),
        );
        // One failure of the list, and one of a shard.
        server.fail(bucket, [Fault::Status("503 Slow Down")]);
        server.fail(&format!("{bucket}/train/1.tar"), [Fault::Cut(30_000)]);
    }
    let this = std::env::current_exe().expect("this program");
    let endpoint = server.url("");
    let output = Command::new(this)
        .args(["--exact", "buckets::buckets_are_listed_and_read"])
        .env(READS, "1")
        .env("AWS_ENDPOINT_URL", &endpoint)
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_ACCESS_KEY_ID", "key")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "somewhere")
        .env("GOOGLE_BASE_URL", &endpoint)
        .env("GOOGLE_SKIP_SIGNATURE", "true")
        .env("AZURE_STORAGE_ENDPOINT", &endpoint)
        .env("AZURE_STORAGE_ACCOUNT_NAME", "account")
        .env("AZURE_ALLOW_HTTP", "true")
        .env("AZURE_SKIP_SIGNATURE", "true")
        .output()
        .expect("the program runs");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}"
    );
    for bucket in ["/s3bucket", "/gsbucket", "/azcontainer"] {
        let asked = server.requests(&format!("{bucket}/train/1.tar"));
        let ranges: Vec<_> = asked
            .iter()
            .map(|request| request.headers.get("range"))
            .collect();
        assert_eq!(ranges, [None, Some(&"bytes=30000-".to_owned())], "{bucket}");
        let signed = asked
            .iter()
            .all(|request| request.headers.contains_key("authorization"));
        assert_eq!(signed, bucket == "/s3bucket");
    }
}

fn read_buckets() {
    for root in ["s3://s3bucket", "gs://gsbucket", "az://azcontainer"] {
        let found = shards(&[format!("{root}/train/*.tar")]);
        let names: Vec<_> = found
            .iter()
            .map(|shard| shard.name().display().to_string())
            .collect();
        let expected = ["0", "1", "10", "2"].map(|name| format!("{root}/train/{name}.tar"));
        assert_eq!(names, expected, "sorted, and of this folder alone");
        let keys: Vec<_> = content(read(&found, &quick()))
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        let expected = [0, 1, 3, 2].map(|shard| [0, 1, 2, 3].map(|n| format!("{shard}-{n}")));
        assert_eq!(keys, expected.concat());
        assert_eq!(declared_samples(&found, &quick()).expect("sizes"), Some(16));
        assert_eq!(shards(&[format!("{root}/**/?.tar")]).len(), 4);
        assert_eq!(
            shards(&[format!("{root}/train/{{2..0}}.tar")]),
            [&found[3], &found[1], &found[0]].map(Clone::clone)
        );
    }
}
