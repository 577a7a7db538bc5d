//! A shard in a remote store.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::path::Path as ObjectPath;

use super::attempts::Failure;
use super::body::Body;
use super::config::RemoteConfig;
use super::store::Store;

/// A shard in a remote store: its URL, and the client that reads it. Two with the
/// same URL are the same.
#[derive(Clone)]
pub struct RemoteShard {
    url: Arc<str>,
    /// The URL without its query, which may hold a secret.
    name: Arc<Path>,
    store: Store,
}

impl RemoteShard {
    pub(super) fn new(url: &str, store: Store) -> Self {
        let name = match &store {
            Store::Web(_) => url.split('?').next().unwrap_or_default(),
            // A key may have any character.
            Store::Bucket(_) => url,
        };
        Self {
            name: Path::new(name).into(),
            url: url.into(),
            store,
        }
    }

    /// Its URL, without a query.
    pub(in crate::shards) fn name(&self) -> Arc<Path> {
        self.name.clone()
    }

    /// A file in the same folder of the same store.
    pub(in crate::shards) fn beside(&self, file: &str) -> Self {
        let name = self.name.to_string_lossy();
        let folder = name.rfind('/').map_or(0, |slash| slash + 1);
        Self::new(&format!("{}{file}", &name[..folder]), self.store.clone())
    }

    /// Its content. Why it cannot be read is told by the reader.
    pub(in crate::shards) fn open(&self, config: &RemoteConfig) -> Box<dyn Read + Send> {
        Box::new(Body::new(self.clone(), *config))
    }

    pub(super) fn object(&self) -> Result<(Arc<dyn ObjectStore>, ObjectPath), Failure> {
        let object = self.store.object(&self.url);
        object.map_err(|error| Failure::of(&error))
    }
}

impl fmt::Debug for RemoteShard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteShard").field(&self.name).finish()
    }
}

impl PartialEq for RemoteShard {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl Eq for RemoteShard {}

impl Hash for RemoteShard {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.url.hash(state);
    }
}

impl Ord for RemoteShard {
    fn cmp(&self, other: &Self) -> Ordering {
        self.url.cmp(&other.url)
    }
}

impl PartialOrd for RemoteShard {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
