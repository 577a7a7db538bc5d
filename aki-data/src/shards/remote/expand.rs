//! Which remote shards a pattern stands for.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::TryStreamExt;
use glob::{MatchOptions, Pattern};
use object_store::ObjectStore;
use object_store::path::Path;
use url::Url;

use super::attempts::{Failure, retrying};
use super::config::RemoteConfig;
use super::runtime::within;
use super::shard::RemoteShard;
use super::store::{CONNECT, Store};
use crate::shards::braces;

/// `*` and the like stay within a folder, as with files.
const MATCH: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: false,
};

/// The shards that a pattern with `://` stands for. Whether one without a glob is
/// there is seen when it is read.
pub(in crate::shards) fn expand(
    pattern: &str,
    config: &RemoteConfig,
) -> Result<Vec<RemoteShard>, String> {
    let mut shards = Vec::new();
    let mut stores = HashMap::new();
    for name in braces::expand(pattern)? {
        let (scheme, rest) = name.split_once("://").unwrap_or_default();
        match scheme {
            "http" | "https" => {
                let url = web_url(&name)?;
                let store = known(&mut stores, "web", Store::web)?;
                shards.push(RemoteShard::new(url.as_str(), store));
            }
            "s3" | "gs" | "az" => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.is_empty() || key.is_empty() || key.ends_with('/') {
                    return Err(format!(
                        "{name} names no shard; write {scheme}://BUCKET/FOLDER/*.tar for a folder's"
                    ));
                }
                let root = format!("{scheme}://{bucket}/");
                let store = known(&mut stores, &root, || Store::bucket(scheme, bucket))?;
                match &store {
                    Store::Bucket(bucket) if key.contains(['*', '?', '[']) => {
                        let found = list(bucket, &root, key, config)?;
                        let found = found.iter().map(|key| format!("{root}{key}"));
                        shards.extend(found.map(|url| RemoteShard::new(&url, store.clone())));
                    }
                    _ => {
                        Path::parse(key).map_err(|error| error.to_string())?;
                        shards.push(RemoteShard::new(&name, store));
                    }
                }
            }
            _ => {
                return Err(format!(
                    "{scheme}:// is no known kind of store; there are http, https, s3, gs and az"
                ));
            }
        }
    }
    Ok(shards)
}

fn known(
    stores: &mut HashMap<String, Store>,
    root: &str,
    make: impl FnOnce() -> Result<Store, object_store::Error>,
) -> Result<Store, String> {
    if let Some(store) = stores.get(root) {
        return Ok(store.clone());
    }
    let store = make().map_err(|error| {
        let cause = Failure::of(&error).cause;
        format!("the store cannot be used: {cause}; check what the environment says of it")
    })?;
    stores.insert(root.to_owned(), store.clone());
    Ok(store)
}

fn web_url(name: &str) -> Result<Url, String> {
    let mut url = Url::parse(name).map_err(|error| format!("{name} is no URL: {error}"))?;
    url.set_fragment(None);
    if !url.username().is_empty() || url.password().is_some() {
        return Err("user names and passwords in URLs are not sent; leave them out".to_owned());
    }
    // `?` begins a query here.
    if url.path().contains(['*', '[']) {
        return Err(
            "a web server cannot be asked which files it has; write their names with braces, as in \
             {00000..00099}.tar"
                .to_owned(),
        );
    }
    Ok(url)
}

/// Keys of the bucket that are like `key`, sorted.
fn list(
    store: &Arc<dyn ObjectStore>,
    root: &str,
    key: &str,
    config: &RemoteConfig,
) -> Result<Vec<String>, String> {
    let pattern = Pattern::new(key).map_err(|error| error.to_string())?;
    let before = key.find(['*', '?', '[']).unwrap_or_default();
    let folder = key[..before].rfind('/').unwrap_or_default();
    let folder = Path::parse(&key[..folder]).map_err(|error| error.to_string())?;
    let limit = CONNECT.saturating_add(config.idle);
    let attempt = || {
        let mut objects = store.list(Some(&folder));
        let mut keys = Vec::new();
        // One is ready at once but where a new page has to come.
        while let Some(object) =
            within(limit, objects.try_next())?.map_err(|error| Failure::of(&error))?
        {
            let key = object.location.as_ref();
            if pattern.matches_with(key, MATCH) {
                keys.push(key.to_owned());
            }
        }
        Ok(keys)
    };
    let mut keys = retrying(
        &format!("the list of {root}{folder}"),
        &config.retry,
        attempt,
    )
    .map_err(|error| format!("{root}{folder} cannot be listed: {error}"))?;
    if keys.is_empty() {
        return Err(format!("no object is like {root}{key}"));
    }
    keys.sort_unstable();
    Ok(keys)
}
