//! An object's content as it comes.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectMeta, ObjectStore};

use super::attempts::{Failure, retrying};
use super::config::RemoteConfig;
use super::runtime::within;
use super::shard::RemoteShard;
use super::store::CONNECT;

/// Chunks as the connection gives them, some 8 to 400 KB.
type Chunks = BoxStream<'static, Result<Vec<u8>, Error>>;

/// Reads an object from beginning to end.
///
/// It holds one chunk. What is ahead of it waits in the connection's buffers, and a
/// server that is faster than the reader waits too. A connection that breaks is made
/// anew from the byte where it broke, if the object is still the same.
pub(super) struct Body {
    shard: RemoteShard,
    config: RemoteConfig,
    object: Option<(Arc<dyn ObjectStore>, Path)>,
    chunks: Option<Chunks>,
    /// What the object was when its first byte came.
    found: Option<ObjectMeta>,
    /// Bytes that came so far.
    came: u64,
    chunk: Vec<u8>,
    /// Bytes of the chunk that were read.
    read: usize,
}

impl Body {
    /// Nothing is asked of the store before the first read.
    pub(super) fn new(shard: RemoteShard, config: RemoteConfig) -> Self {
        Self {
            shard,
            config,
            object: None,
            chunks: None,
            found: None,
            came: 0,
            chunk: Vec::new(),
            read: 0,
        }
    }

    /// The next chunk, empty at the end. After a failure the next attempt begins with
    /// a new connection.
    fn next(&mut self) -> Result<Vec<u8>, Failure> {
        let size = self.found.as_ref().map(|found| found.size);
        // A connection may break behind the last byte.
        if size == Some(self.came) {
            return Ok(Vec::new());
        }
        let mut chunks = match self.chunks.take() {
            Some(chunks) => chunks,
            None => self.connect()?,
        };
        let chunk = within(self.config.idle, chunks.next())?;
        let size = self.found.as_ref().map_or(0, |found| found.size);
        let chunk = match chunk {
            Some(chunk) => chunk.map_err(|error| Failure::of(&error))?,
            None if self.came == size => Vec::new(),
            None => {
                let missing = size - self.came;
                return Err(Failure::passing(format!(
                    "it broke off {missing} bytes early"
                )));
            }
        };
        let came = self.came.saturating_add(chunk.len() as u64);
        if came > size {
            return Err(Failure::lasting(format!(
                "more comes than the {size} bytes that were announced"
            )));
        }
        self.came = came;
        self.chunks = Some(chunks);
        Ok(chunk)
    }

    /// Asks for the content from where it broke off.
    fn connect(&mut self) -> Result<Chunks, Failure> {
        let (store, path) = match &self.object {
            Some(object) => object,
            None => self.object.insert(self.shard.object()?),
        };
        let tag = self.found.as_ref().and_then(|found| found.e_tag.clone());
        let options = GetOptions {
            range: (self.came > 0).then_some(GetRange::Offset(self.came)),
            // A weak tag is like no other here, even itself (RFC 9110, 13.1.1).
            if_match: tag.filter(|tag| !tag.starts_with("W/")),
            ..GetOptions::default()
        };
        let limit: Duration = CONNECT.saturating_add(self.config.idle);
        let result = within(limit, store.get_opts(path, options))?;
        let result = result.map_err(|error| Failure::of(&error))?;
        match &self.found {
            Some(found) if !is_same(found, &result.meta) => {
                return Err(Failure::lasting("the object was changed while it was read"));
            }
            Some(_) => {}
            None => self.found = Some(result.meta.clone()),
        }
        Ok(result.into_stream().map_ok(Vec::from).boxed())
    }
}

/// Whether two answers are about the same content, as far as the server says.
fn is_same(then: &ObjectMeta, now: &ObjectMeta) -> bool {
    let same = match (&then.e_tag, &now.e_tag) {
        (Some(then), Some(now)) => then == now,
        _ => then.last_modified == now.last_modified,
    };
    same && then.size == now.size
}

impl Read for Body {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if self.read == self.chunk.len() && !into.is_empty() {
            let (name, retry) = (self.shard.name(), self.config.retry);
            let chunk = retrying(&name.to_string_lossy(), &retry, || self.next());
            self.chunk = chunk.map_err(std::io::Error::other)?;
            self.read = 0;
        }
        let read = (&self.chunk[self.read..]).read(into)?;
        self.read += read;
        Ok(read)
    }
}
