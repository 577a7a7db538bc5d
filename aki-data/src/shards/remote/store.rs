//! Clients of the stores.

use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::path::Path;
use object_store::{ClientConfigKey, ClientOptions, Error, ObjectStore, RetryConfig};

/// A connection that takes longer has failed.
pub(super) const CONNECT: Duration = Duration::from_secs(10);

/// A whole shard may take as long as the training that reads it, so a request has no
/// limit. The builders know none but a long one.
const UNLIMITED: &str = "365days";

/// Where objects come from. Clones share their connections and credentials.
#[derive(Clone)]
pub(super) enum Store {
    /// Any web server.
    Web(HttpClient),
    /// A bucket of S3 or Google, a container of Azure.
    Bucket(Arc<dyn ObjectStore>),
}

impl Store {
    /// A client of web servers.
    pub(super) fn web() -> Result<Self, Error> {
        let client = ReqwestConnector::default().connect(&web_options())?;
        Ok(Self::Web(client))
    }

    /// A bucket; credentials and endpoint come from the environment.
    pub(super) fn bucket(scheme: &str, name: &str) -> Result<Self, Error> {
        let settings = [
            (
                ClientConfigKey::ConnectTimeout,
                format!("{}s", CONNECT.as_secs()),
            ),
            (ClientConfigKey::Timeout, UNLIMITED.to_owned()),
        ];
        let store: Arc<dyn ObjectStore> = match scheme {
            "s3" => {
                let builder = AmazonS3Builder::from_env().with_bucket_name(name);
                let builder = settings.into_iter().fold(builder, |builder, (key, value)| {
                    builder.with_config(AmazonS3ConfigKey::Client(key), value)
                });
                Arc::new(builder.with_retry(no_retry()).build()?)
            }
            "gs" => {
                let builder = GoogleCloudStorageBuilder::from_env().with_bucket_name(name);
                let builder = settings.into_iter().fold(builder, |builder, (key, value)| {
                    builder.with_config(GoogleConfigKey::Client(key), value)
                });
                Arc::new(builder.with_retry(no_retry()).build()?)
            }
            _ => {
                let builder = MicrosoftAzureBuilder::from_env().with_container_name(name);
                let builder = settings.into_iter().fold(builder, |builder, (key, value)| {
                    builder.with_config(AzureConfigKey::Client(key), value)
                });
                Arc::new(builder.with_retry(no_retry()).build()?)
            }
        };
        Ok(Self::Bucket(store))
    }

    /// What gives the object of this URL, and its path there.
    pub(super) fn object(&self, url: &str) -> Result<(Arc<dyn ObjectStore>, Path), Error> {
        match self {
            // A store at the very URL, so that its query and its escapes stay as they are.
            Self::Web(client) => {
                let builder = HttpBuilder::new().with_url(url).with_retry(no_retry());
                let builder = builder.with_client_options(web_options());
                let store = builder
                    .with_http_connector(Shared(client.clone()))
                    .build()?;
                Ok((Arc::new(store), Path::default()))
            }
            Self::Bucket(store) => {
                let key = url.splitn(4, '/').nth(3).unwrap_or_default();
                Ok((store.clone(), Path::parse(key)?))
            }
        }
    }
}

/// `http://` is what was typed, so it is allowed.
fn web_options() -> ClientOptions {
    let options = ClientOptions::new().with_allow_http(true);
    options
        .with_timeout_disabled()
        .with_connect_timeout(CONNECT)
}

/// `attempts` does it, and tells.
fn no_retry() -> RetryConfig {
    RetryConfig {
        max_retries: 0,
        ..RetryConfig::default()
    }
}

/// Gives all stores the same client.
#[derive(Debug)]
struct Shared(HttpClient);

impl HttpConnector for Shared {
    fn connect(&self, _options: &ClientOptions) -> Result<HttpClient, Error> {
        Ok(self.0.clone())
    }
}
