//! X-Forwarded-For: [`client`] is the address that trusted proxies say a request came from.

use std::net::{IpAddr, SocketAddr};

use hyper::header::HeaderMap;
use ipnet::IpNet;

use super::rule::contains;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The right-most address that is no trusted proxy's: each proxy adds, at the right end, who has connected to it, and
/// what stands further left than an address that nobody vouches for is only said by that one.
pub fn client(trusted: &[IpNet], peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    if trusted.is_empty() || !contains(trusted, peer) {
        return peer;
    }
    let mut nearest = peer;
    let values: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    for value in values.iter().rev() {
        for entry in value.as_bytes().rsplit(|octet| *octet == b',') {
            // What cannot be read is vouched for by the last that can.
            let Some(address) = parse(entry.trim_ascii()) else {
                return nearest;
            };
            nearest = address;
            if !contains(trusted, address) {
                return address;
            }
        }
    }
    nearest
}

/// An address, and a port behind it if there is one.
fn parse(entry: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(entry).ok()?;
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = bare.unwrap_or(text).parse::<IpAddr>().ok();
    let address = address.or_else(|| text.parse::<SocketAddr>().ok().map(|both| both.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(peer: &str, values: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "2001:db8::/32"].map(|net| net.parse().unwrap());
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(FORWARDED_FOR, value.parse().unwrap());
        }
        client(&trusted, peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_counts() {
        for (values, client) in [
            (&[][..], "10.0.0.1"),
            (&["192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.9, 192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.9", "192.0.2.1"], "192.0.2.1"),
            (&["192.0.2.9, 192.0.2.1, 10.1.1.1"], "192.0.2.1"),
            (&["192.0.2.1,2001:db8::1 ,10.1.1.1"], "192.0.2.1"),
            (&["192.0.2.1:4711"], "192.0.2.1"),
            (&["[2001:dead::1]:4711"], "2001:dead::1"),
            (&["[2001:dead::1]"], "2001:dead::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["10.2.2.2, 10.1.1.1"], "10.2.2.2"),
            (&["unknown"], "10.0.0.1"),
            (&["192.0.2.1, unknown, 10.1.1.1"], "10.1.1.1"),
            (&["192.0.2.1,"], "10.0.0.1"),
            (&[""], "10.0.0.1"),
        ] {
            assert_eq!(seen("10.0.0.1", values), client, "{values:?}");
        }
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(seen("192.0.2.7", &["192.0.2.1"]), "192.0.2.7");
    }
}
