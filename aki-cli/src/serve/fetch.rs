//! Pictures at addresses, from hosts that the server's owner allows.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use tokio::sync::Semaphore;

use super::ApiError;
use super::picture::Encoded;
use crate::commands::NO_CLIENT;

/// How long a request's pictures may take to come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Hosts and ports.
type Hosts = BTreeSet<(String, u16)>;

/// Requests whose pictures are fetched at a time.
static FETCHING: Semaphore = Semaphore::const_new(4);

/// Fetches pictures from some hosts, and from nowhere else.
#[derive(Clone, Debug)]
pub struct Fetcher {
    hosts: Hosts,
    client: Client,
    /// Bytes of a request's pictures.
    most: usize,
}

impl Fetcher {
    /// From hosts as `example.org` or `example.org:8000`; a request's pictures have at most so many bytes.
    ///
    /// # Errors
    ///
    /// If one is no host.
    pub fn new(hosts: &[String], most: usize) -> Result<Self> {
        let mut allowed = Hosts::new();
        // Without a port it is either scheme's.
        for (name, scheme) in hosts.iter().flat_map(|it| [(it, "http"), (it, "https")]) {
            let url = Url::parse(&format!("{scheme}://{name}"));
            let url = url.with_context(|| format!("--images-from: {name:?} is no host"))?;
            let is_host = url.path() == "/" && url.username().is_empty() && !name.ends_with('/');
            ensure!(
                is_host && url.query().is_none() && url.fragment().is_none() && !name.contains('*'),
                "--images-from: {name:?} is no host; write it as example.org or example.org:8000"
            );
            allowed.extend(place(&url));
        }
        // A proxy would find hosts by itself.
        let client = Client::builder()
            .no_proxy()
            .redirect(Policy::none())
            .dns_resolver(Arc::new(Public));
        Ok(Self {
            hosts: allowed,
            client: client.build().context(NO_CLIENT)?,
            most,
        })
    }

    /// The address, if it may be fetched; else why not.
    pub fn allowed(&self, address: &str) -> Result<Url, String> {
        let url = Url::parse(address).map_err(|error| format!("it is no address: {error}"))?;
        let place = place(&url);
        if !place.as_ref().is_some_and(|it| self.hosts.contains(it)) {
            let (host, port) = place.unwrap_or_default();
            return Err(format!(
                "{host}, port {port}, is none of the hosts of --images-from"
            ));
        }
        match url.username().is_empty() && url.password().is_none() {
            true => Ok(url),
            false => Err("an address with a user's name is not fetched".to_owned()),
        }
    }

    /// Fetches what is not there yet of a request's pictures.
    ///
    /// # Errors
    ///
    /// 400 if one does not come in time, or is none that may be decoded.
    pub async fn fetch(&self, pictures: Vec<Encoded>) -> Result<Vec<Encoded>, ApiError> {
        if pictures.iter().all(|picture| picture.url.is_none()) {
            return Ok(pictures);
        }
        let seen = AtomicUsize::new(0);
        let fetched = pictures.into_iter().map(async |picture| {
            let Some(url) = picture.url.clone() else {
                return Ok(picture);
            };
            match self.get(url, &seen).await {
                Ok(bytes) => Encoded::of(bytes, picture.param, picture.upright),
                Err(reason) => Err(fault(&picture.param, &reason)),
            }
        });
        // Waiting for a turn takes nothing of the time.
        let _turn = FETCHING.acquire().await;
        let seconds = PATIENCE.as_secs();
        let late = |_| {
            let reason = format!("pictures did not come within {seconds} s");
            fault("messages", &reason)
        };
        let fetched = tokio::time::timeout(PATIENCE, try_join_all(fetched))
            .await
            .map_err(late)??;
        Encoded::check_all(&fetched)?;
        Ok(fetched)
    }

    /// The bytes at an address; those of the request are counted.
    async fn get(&self, url: Url, seen: &AtomicUsize) -> Result<Vec<u8>, String> {
        // Without the address, which the client knows.
        let failed = |error: reqwest::Error| {
            let error = anyhow::Error::from(error.without_url());
            format!("it cannot be fetched: {error:#}")
        };
        let mut response = self.client.get(url).send().await.map_err(failed)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(format!(
                "its host answers {status}: send the address that it is at"
            ));
        }
        if !status.is_success() {
            return Err(format!("its host answers {status}"));
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(failed)? {
            if seen.fetch_add(chunk.len(), Ordering::Relaxed) + chunk.len() > self.most {
                let most = self.most;
                return Err(format!(
                    "more than the {most} bytes allowed are fetched for this request; see --max-body"
                ));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }
}

/// The host and the port of an address.
fn place(url: &Url) -> Option<(String, u16)> {
    Some((url.host_str()?.to_owned(), url.port_or_known_default()?))
}

fn fault(param: &str, reason: &str) -> ApiError {
    ApiError::param(param, format!("{param}: {reason}")).code("image_not_fetched")
}

/// Finds public addresses alone, so that no name leads into the network of the server. Who wants a picture from
/// there allows its address by number, or `localhost`.
struct Public;

impl Resolve for Public {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let host = name.as_str();
            let found = tokio::net::lookup_host((host, 0)).await?;
            let allowed = |it: &SocketAddr| host == "localhost" || is_public(it.ip());
            let found: Vec<SocketAddr> = found.filter(allowed).collect();
            match found.is_empty() {
                true => Err("the host has no public address".into()),
                false => Ok(Box::new(found.into_iter()) as Addrs),
            }
        })
    }
}

/// Whether an address is one of the whole network, not of a part of it.
fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [first, second, ..] = ip.octets();
            let is_shared = first == 100 && second & 0xc0 == 64;
            !(first == 0
                || first >= 240
                || is_shared
                || ip.is_private()
                || ip.is_loopback()
                || ip.is_link_local()
                || ip.is_multicast())
        }
        IpAddr::V6(ip) => {
            let parts = ip.segments();
            let within = |at: usize| {
                let [a, b] = parts[at].to_be_bytes();
                let [c, d] = parts[at + 1].to_be_bytes();
                is_public(IpAddr::from([a, b, c, d]))
            };
            match parts {
                // ::1 and :: are of these, too.
                [0, 0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => within(6),
                [0x2002, ..] => within(1),
                // Else those that are given out.
                [first, ..] => (0x2000..0x4000).contains(&first),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hosts_that_were_named_are_asked() {
        let hosts = ["Example.org", "127.0.0.1:8000", "[::1]", "one.org:443"].map(str::to_owned);
        let fetcher = Fetcher::new(&hosts, 1).expect("hosts");
        for address in [
            "https://example.org/a.png",
            "http://EXAMPLE.org:80/?a",
            "http://127.0.0.1:8000/a",
            "http://[::1]/a.png",
            "https://one.org/a.png",
        ] {
            assert!(fetcher.allowed(address).is_ok(), "{address}");
        }
        for address in [
            "https://example.org.evil/a.png",
            "https://evil/example.org",
            "https://example.org@evil/a.png",
            "https://user@example.org/a.png",
            "https://example.org:8443/a.png",
            "http://127.0.0.1/a.png",
            "http://2130706433:8001/a.png",
            "http://one.org/a.png",
            "http:///a.png",
            "file:///etc/passwd",
            "ftp://example.org/a.png",
        ] {
            assert!(fetcher.allowed(address).is_err(), "{address}");
        }
        for host in [
            "",
            "http://example.org",
            "example.org/a",
            "a@b",
            "a?b",
            "a:99999",
        ] {
            assert!(Fetcher::new(&[host.to_owned()], 1).is_err(), "{host}");
        }
    }

    #[test]
    fn networks_of_ones_own_are_not_public() {
        for ip in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "::1",
            "::",
            "fe80::1",
            "fd00::1",
            "::ffff:10.0.0.1",
            "::10.0.0.1",
            "64:ff9b::a00:5",
            "2002:a00:5::1",
            "fec0::1",
            "ff02::1",
            "240.0.0.1",
        ] {
            assert!(!is_public(ip.parse().expect("an address")), "{ip}");
        }
        for ip in [
            "93.184.216.34",
            "100.128.0.1",
            "2606:2800:220:1::1",
            "64:ff9b::5db8:d822",
        ] {
            assert!(is_public(ip.parse().expect("an address")), "{ip}");
        }
    }
}
