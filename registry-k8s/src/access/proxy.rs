//! Which proxy leads to a server: that of the kubeconfig, else that of the environment.

use std::net::IpAddr;

use http::Uri;

use super::environment::Environment;

/// The proxy for this server, as a URL that the client understands. What is wrong is told without the proxy's
/// credentials.
///
/// A proxy of the kubeconfig counts whatever the environment says, as it does for kubectl. In the environment it is
/// `HTTPS_PROXY` (for plain HTTP `HTTP_PROXY`), else `ALL_PROXY`, unless `NO_PROXY` names the server or the server is
/// this machine. Each may be written in small letters.
///
/// A proxy that is spoken to in TLS is trusted as the server is: its certificate has to be of the authority that the
/// kubeconfig names, where it names one. The client library knows one set of authorities alone.
pub(super) fn choose(
    server: &Uri,
    configured: Option<&str>,
    environment: &Environment,
) -> Result<Option<Uri>, String> {
    if let Some(text) = configured {
        return parse(text)
            .map(Some)
            .map_err(|problem| format!("proxy-url: {problem}"));
    }
    let names: &[&str] = if server.scheme_str() == Some("http") {
        &["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]
    } else {
        &["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
    };
    let Some((name, text)) = environment.first(names) else {
        return Ok(None);
    };
    let (_, exceptions) = environment.first(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
    if is_excepted(server, &exceptions) {
        return Ok(None);
    }
    parse(&text)
        .map(Some)
        .map_err(|problem| format!("${name}: {problem}"))
}

fn parse(text: &str) -> Result<Uri, String> {
    let text = text.trim();
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    let scheme = match scheme.to_ascii_lowercase().as_str() {
        "http" => "http",
        "https" => "https",
        // Names are left for the proxy to look up in either case.
        "socks5" | "socks5h" => "socks5",
        _ => return Err("found another scheme, expected http, https or socks5".to_owned()),
    };
    let uri: Option<Uri> = format!("{scheme}://{rest}").parse().ok();
    let Some(uri) = uri.filter(|uri| uri.host().is_some_and(|host| !host.is_empty())) else {
        return Err("found something else, expected a URL such as http://proxy.example:3128".to_owned());
    };
    let credentials = uri
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'));
    if scheme == "socks5" && credentials {
        return Err("found credentials for a SOCKS proxy, expected none: they are not supported".to_owned());
    }
    Ok(uri)
}

/// Whether `NO_PROXY` names the server: `*`, addresses, networks such as `10.0.0.0/8`, domains with all below them, or
/// `.example.com` for what is below alone; all but networks also with a port. What cannot be read is passed over.
fn is_excepted(server: &Uri, exceptions: &str) -> bool {
    let Some(host) = server.host() else {
        return false;
    };
    let host = bare(host).trim_end_matches('.').to_ascii_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let by_scheme = if server.scheme_str() == Some("http") {
        80
    } else {
        443
    };
    let port = server.port_u16().unwrap_or(by_scheme);
    exceptions
        .split(',')
        .map(|entry| entry.trim().to_ascii_lowercase())
        .any(|entry| {
            if entry == "*" {
                return true;
            }
            if let Some((network, bits)) = entry.split_once('/') {
                return address.is_some_and(|address| contains(network, bits, address).unwrap_or(false));
            }
            let (name, at) = split_port(&entry);
            if name.is_empty() || at.is_some_and(|at| at != port) {
                return false;
            }
            if let Some(address) = address {
                return bare(name).parse() == Ok(address);
            }
            let name = name.strip_prefix('*').unwrap_or(name);
            match name.strip_prefix('.') {
                Some(domain) => is_below(&host, domain),
                None => host == name || is_below(&host, name),
            }
        })
}

fn is_below(host: &str, domain: &str) -> bool {
    host.strip_suffix(domain)
        .is_some_and(|rest| rest.ends_with('.') && rest.len() > 1)
}

/// Without the brackets of an IPv6 address.
fn bare(host: &str) -> &str {
    host.strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
        .unwrap_or(host)
}

/// A port at the end; an IPv6 address has one only after brackets.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
            Ok(port) => (name, Some(port)),
            Err(_) => ("", None),
        },
        _ => (entry, None),
    }
}

fn contains(network: &str, bits: &str, address: IpAddr) -> Option<bool> {
    let (network, bits): (IpAddr, u32) = (network.parse().ok()?, bits.parse().ok()?);
    let (network, address, width) = match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            (u128::from(network.to_bits()), u128::from(address.to_bits()), 32)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => (network.to_bits(), address.to_bits(), 128),
        _ => return Some(false),
    };
    let rest = u32::checked_sub(width, bits)?;
    // A shift by the whole width is none in Rust.
    Some((network ^ address).checked_shr(rest).unwrap_or(0) == 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn chosen(
        server: &str,
        configured: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<Option<String>, String> {
        let environment = Environment::made_up(variables, Path::new("/nowhere"));
        let chosen = choose(&server.parse().unwrap(), configured, &environment)?;
        Ok(chosen.map(|uri| uri.to_string()))
    }

    #[test]
    fn the_kubeconfig_comes_before_the_environment() {
        let variables = [("HTTPS_PROXY", "http://env:1"), ("NO_PROXY", "*")];
        let proxy = chosen("https://a", Some("socks5h://mine:2"), &variables);
        assert_eq!(proxy.unwrap().as_deref(), Some("socks5://mine:2/"));
    }

    #[test]
    fn the_variable_goes_by_the_scheme_of_the_server() {
        let all = [
            ("HTTPS_PROXY", "s:1"),
            ("HTTP_PROXY", "http://p:1"),
            ("ALL_PROXY", "socks5://a:1"),
        ];
        for (server, variables, expected) in [
            ("https://a", &all[..], Some("http://s:1/")),
            ("http://a", &all[..], Some("http://p:1/")),
            ("https://a", &all[1..], Some("socks5://a:1/")),
            (
                "https://a",
                &[("https_proxy", "HTTPS://s:1")],
                Some("https://s:1/"),
            ),
            ("https://a", &[("all_proxy", "s:1")], Some("http://s:1/")),
            ("https://a", &[("HTTPS_PROXY", "")], None),
            ("https://localhost:6443", &all[..], None),
            ("https://127.0.0.9", &all[..], None),
            ("https://[::1]", &all[..], None),
        ] {
            assert_eq!(
                chosen(server, None, variables).unwrap().as_deref(),
                expected,
                "{server}"
            );
        }
    }

    #[test]
    fn no_proxy_is_about_the_server() {
        for (exceptions, server, excepted) in [
            ("*", "https://a", true),
            (" * ", "https://a", true),
            ("example.com", "https://example.com", true),
            ("example.com", "https://api.Example.com:6443", true),
            ("example.com", "https://badexample.com", false),
            (".example.com", "https://example.com", false),
            (".example.com", "https://api.example.com", true),
            ("*.example.com", "https://api.example.com", true),
            ("example.com:6443", "https://example.com:6443", true),
            ("example.com:6443", "https://example.com", false),
            ("example.com:443", "https://example.com", true),
            ("10.0.0.0/8", "https://10.255.0.1:6443", true),
            ("10.0.0.0/8", "https://11.0.0.1", false),
            ("0.0.0.0/0", "https://11.0.0.1", true),
            ("10.0.0.0/33,10.0.0.0/x", "https://10.0.0.0", false),
            ("10.0.0.1", "https://10.0.0.1", true),
            ("10.0.0.1:80", "https://10.0.0.1", false),
            ("fd00::/8", "https://[fd12::1]", true),
            ("fd12::1", "https://[fd12::1]:6443", true),
            ("[fd12::1]:6443", "https://[fd12::1]:6443", true),
            ("::/0", "https://10.0.0.1", false),
            // What is no exception does not make the others invalid.
            ("a b,,/,:,example.com,", "https://example.com", true),
            ("", "https://a", false),
        ] {
            let proxy = chosen(
                server,
                None,
                &[("HTTPS_PROXY", "http://p:1"), ("NO_PROXY", exceptions)],
            );
            assert_eq!(proxy.unwrap().is_none(), excepted, "{exceptions} {server}");
        }
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_not_repeated() {
        for (text, expected) in [
            ("ftp://me:geheim@p", "proxy-url: found another scheme"),
            ("http://me:geheim@", "proxy-url: found something else"),
            ("http://me:geheim geheim@p", "proxy-url: found something else"),
            (
                "socks5://me:geheim@p:1",
                "proxy-url: found credentials for a SOCKS proxy",
            ),
        ] {
            let error = chosen("https://a", Some(text), &[]).unwrap_err();
            assert!(
                error.starts_with(expected) && !error.contains("geheim"),
                "{error}"
            );
        }
        let error = chosen("https://a", None, &[("all_proxy", "ftp://geheim")]).unwrap_err();
        assert!(error.starts_with("$all_proxy: found another scheme"), "{error}");
    }
}
