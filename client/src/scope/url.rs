//! What a remote's URL names.
//!
//! Owns the reading of every form of URL that git takes, and the rules by which two forms of one repository
//! become one slug. Pure: nothing here looks at the machine.
//!
//! What is dropped, because it says how to get there and not where: scheme, port, user name, password, a
//! trailing `.git`, and over http the query. What is folded: letter case, in the host and in the path, as the
//! hosting services take `Acme/App` and `acme/app` for one repository and two people who typed it differently
//! must meet. The price: on a server that tells `App` from `app`, both get one scope.
//!
//! Known hosts with more than one address for a repository are brought together: the ssh-over-443 names of
//! GitHub, GitLab and Bitbucket, all forms of Azure DevOps, and the `/scm/` prefix that Bitbucket Server has
//! only over http. Not brought together, for want of a sign in the URL: host aliases of an ssh configuration,
//! and Gerrit's `/a/` prefix.

use std::net::Ipv6Addr;
use std::path::PathBuf;

use super::slug;

/// Where a remote's URL leads.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Address {
    /// To a host; the slug of the repository there.
    Network(String),
    /// To a directory of this machine, perhaps relative to the repository.
    Local(PathBuf),
}

/// The scope of the repository that a remote's URL names, `github.com/acme/app`; `None` for a path of this
/// machine and for what names no repository.
///
/// The same slug comes of every way to write one repository: over https or ssh, scp-like, with or without
/// port, user name and `.git`, in any letter case.
pub fn slug_from_remote_url(url: &str) -> Option<String> {
    match parse(url)? {
        Address::Network(slug) => Some(slug),
        Address::Local(_) => None,
    }
}

/// Reads a URL as git does; `None` when it names no repository.
pub(super) fn parse(url: &str) -> Option<Address> {
    let url = url.trim();
    if let Some((helper, address)) = url.split_once("::")
        && is_scheme(helper)
    {
        // A remote helper (`codecommit::…`, `ext::…`): only an address that is itself a URL says where.
        let (scheme, rest) = split_scheme(address)?;
        return network_url(scheme, rest);
    }
    if let Some((scheme, rest)) = split_scheme(url) {
        if scheme.eq_ignore_ascii_case("file") {
            let path = rest.find('/').map(|at| &rest[at..])?;
            return Some(Address::Local(PathBuf::from(String::from_utf8(percent_decoded(path)).ok()?)));
        }
        return network_url(scheme, rest);
    }
    match split_scp(url) {
        Some((host, path)) => network("ssh", &scp_host(host)?, path),
        None if url.is_empty() => None,
        None => Some(Address::Local(PathBuf::from(url))),
    }
}

fn is_scheme(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'))
}

/// Scheme and rest of `scheme://rest`. One letter is a drive, not a scheme.
fn split_scheme(url: &str) -> Option<(&str, &str)> {
    url.split_once("://").filter(|(scheme, _)| scheme.len() > 1 && is_scheme(scheme))
}

/// Host and path of the scp-like `[user@]host:path`. As in git, a slash before the colon makes it a path;
/// so does a single letter, which is a drive (`C:\app`, `C:/app`), here on every system.
fn split_scp(url: &str) -> Option<(&str, &str)> {
    let mut in_brackets = false;
    let colon = url.find(|c| {
        in_brackets = (in_brackets || c == '[') && c != ']';
        c == ':' && !in_brackets
    })?;
    let (host, path) = (&url[..colon], &url[colon + 1..]);
    let is_drive = host.len() == 1 && host.as_bytes()[0].is_ascii_alphabetic();
    (!host.contains('/') && !is_drive).then_some((host, path))
}

/// Host of `user@host`, `user@[::1]`, or of the bracketed `[user@host:22]` that git takes too.
fn scp_host(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    match inner {
        Some(inner) if ipv6(inner).is_none() => host_of(inner),
        _ => host_of(text),
    }
}

fn network_url(scheme: &str, rest: &str) -> Option<Address> {
    let (authority, path) = rest.split_once('/')?;
    let is_http = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    // A query can carry a token, and a scope is shown to everybody.
    let path = if is_http { path.split(['?', '#']).next().unwrap_or(path) } else { path };
    network(scheme, &host_of(authority)?, path)
}

/// The host of `[user[:password]@]host[:port]`, lower-cased.
fn host_of(authority: &str) -> Option<String> {
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (address, after) = rest.split_once(']')?;
            (ipv6(address)?.to_string(), after.strip_prefix(':').or(after.is_empty().then_some(""))?)
        }
        None => {
            let (host, port) = place.split_once(':').unwrap_or((place, ""));
            (host.trim_end_matches('.').to_lowercase(), port)
        }
    };
    (!host.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())).then_some(host)
}

/// An IPv6 address in its one normal form, without a zone, which only means something to this machine.
fn ipv6(text: &str) -> Option<Ipv6Addr> {
    text.split('%').next()?.parse().ok()
}

fn network(scheme: &str, host: &str, path: &str) -> Option<Address> {
    let mut segments = segments_of(path);
    if let Some(last) = segments.pop() {
        let bare = strip_git_suffix(&last);
        if !bare.is_empty() {
            segments.push(bare.to_vec());
        }
    }
    if segments.is_empty() {
        return None;
    }
    let (host, segments) = one_address(scheme, host, segments);
    let mut whole = vec![host.into_bytes()];
    whole.extend(segments);
    Some(Address::Network(slug::folded(&whole)))
}

/// The path's segments, percent-decoded, with empty ones and `.` dropped and `..` resolved.
fn segments_of(path: &str) -> Vec<Vec<u8>> {
    let mut segments = Vec::new();
    for segment in percent_decoded(path).split(|byte| *byte == b'/') {
        match segment {
            b"" | b"." => {}
            b".." => drop(segments.pop()),
            name => segments.push(name.to_vec()),
        }
    }
    segments
}

fn strip_git_suffix(name: &[u8]) -> &[u8] {
    let stem = name.len().saturating_sub(b".git".len());
    if name[stem..].eq_ignore_ascii_case(b".git") { &name[..stem] } else { name }
}

/// `%41` read as `A`; what is no such escape stays.
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [high, low, ..] if *first == b'%' => hex_value(*high).zip(hex_value(*low)),
            _ => None,
        };
        let (byte, used) = escaped.map_or((*first, 1), |(high, low)| (high << 4 | low, 3));
        decoded.push(byte);
        rest = &rest[used..];
    }
    decoded
}

fn hex_value(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

/// Of the addresses that a known host has for one repository, always the same.
fn one_address(scheme: &str, host: &str, mut segments: Vec<Vec<u8>>) -> (String, Vec<Vec<u8>>) {
    let is =
        |at: usize, name: &str| segments.get(at).is_some_and(|s| s.eq_ignore_ascii_case(name.as_bytes()));
    match host {
        "ssh.github.com" | "www.github.com" => ("github.com".into(), segments),
        "altssh.gitlab.com" => ("gitlab.com".into(), segments),
        "altssh.bitbucket.org" => ("bitbucket.org".into(), segments),
        "ssh.dev.azure.com" | "vs-ssh.visualstudio.com" if is(0, "v3") && segments.len() == 4 => {
            segments.remove(0);
            ("dev.azure.com".into(), segments)
        }
        "dev.azure.com" => (host.into(), azure(segments)),
        _ if is(0, "scm") && segments.len() == 3 && scheme.to_ascii_lowercase().starts_with("http") => {
            segments.remove(0);
            (host.into(), segments)
        }
        _ => match host.strip_suffix(".visualstudio.com") {
            Some(organisation) if segments.iter().any(|s| s.eq_ignore_ascii_case(b"_git")) => {
                if is(0, "DefaultCollection") {
                    segments.remove(0);
                }
                segments.insert(0, organisation.as_bytes().to_vec());
                ("dev.azure.com".into(), azure(segments))
            }
            _ => (host.into(), segments),
        },
    }
}

/// `organisation/project/_git/repository` without its `_git`; a missing project is named like the repository.
fn azure(mut segments: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    match segments.iter().position(|segment| segment.eq_ignore_ascii_case(b"_git")) {
        Some(2) if segments.len() == 4 => drop(segments.remove(2)),
        Some(1) if segments.len() == 3 => segments[1] = segments[2].clone(),
        _ => {}
    }
    segments
}

#[cfg(test)]
mod tests {
    use super::*;

    const APP: Option<&str> = Some("github.com/acme/app");

    /// URL, slug.
    const TABLE: &[(&str, Option<&str>)] = &[
        // One repository, however it is written.
        ("https://github.com/acme/app", APP),
        ("https://github.com/acme/app.git", APP),
        ("https://github.com/acme/app/", APP),
        ("https://github.com/acme/app.git/", APP),
        ("https://github.com//acme//app.git//", APP),
        ("https://github.com/acme/./x/../app", APP),
        ("http://github.com/acme/app.git", APP),
        ("HTTPS://GitHub.com/Acme/App.GIT", APP),
        ("https://github.com:443/acme/app.git", APP),
        ("https://github.com:/acme/app.git", APP),
        ("https://github.com./acme/app", APP),
        ("https://www.github.com/acme/app", APP),
        ("https://alice@github.com/acme/app.git", APP),
        ("https://alice:s3cret@github.com/acme/app.git", APP),
        ("https://x-access-token:ghs_abc@github.com/acme/app", APP),
        ("https://alice:p@ss@github.com/acme/app.git", APP),
        ("https://github.com/acme/app.git?access_token=abc", APP),
        ("https://github.com/acme/app#readme", APP),
        ("https://github.com/acme/%61pp", APP),
        ("ssh://git@github.com/acme/app.git", APP),
        ("ssh://git@github.com:22/acme/app.git", APP),
        ("ssh://git@ssh.github.com:443/acme/app.git", APP),
        ("git+ssh://git@github.com/acme/app", APP),
        ("ssh+git://git@github.com/acme/app", APP),
        ("git://github.com/acme/app.git", APP),
        ("git@github.com:acme/app.git", APP),
        ("git@github.com:/acme/app.git", APP),
        ("git@github.com:acme/app/", APP),
        ("org-1234@github.com:acme/app.git", APP),
        ("github.com:acme/app.git", APP),
        ("git@GITHUB.com:Acme/App", APP),
        ("  git@github.com:acme/app.git\n", APP),
        ("[git@github.com:22]:acme/app.git", APP),
        ("foo::https://github.com/acme/app.git", APP),
        // Paths.
        ("https://gitlab.com/group/sub/deep/app.git", Some("gitlab.com/group/sub/deep/app")),
        ("ssh://git@altssh.gitlab.com:443/group/sub/app.git", Some("gitlab.com/group/sub/app")),
        ("https://git.sr.ht/~alice/app", Some("git.sr.ht/~alice/app")),
        ("git@git.sr.ht:~alice/app", Some("git.sr.ht/~alice/app")),
        ("ssh://host.example/~alice/app.git", Some("host.example/~alice/app")),
        ("host.example:app.git", Some("host.example/app")),
        ("ssh://host.example/srv/app/.git", Some("host.example/srv/app")),
        ("https://host.example/app.git.git", Some("host.example/app.git")),
        ("https://host.example/.github", Some("host.example/.github")),
        ("https://host.example/c++", Some("host.example/c++")),
        ("https://host.example/my%20team/app", Some("host.example/my+20team/app")),
        ("https://host.example/my team/app", Some("host.example/my+20team/app")),
        ("https://host.example/100%/app", Some("host.example/100+25/app")),
        ("https://host.example/%C3%89T%C3%89", Some("host.example/+c3+a9t+c3+a9")),
        ("https://host.example/a%2Fb", Some("host.example/a/b")),
        ("https://host.example/../../app", Some("host.example/app")),
        ("https://host.example/a%00b", Some("host.example/a+00b")),
        // Hosts.
        ("ssh://git@10.0.0.7:2222/app.git", Some("10.0.0.7/app")),
        ("ssh://git@[2001:DB8::1]:2222/acme/app.git", Some("2001+3adb8+3a+3a1/acme/app")),
        ("git@[2001:db8:0::1]:acme/app.git", Some("2001+3adb8+3a+3a1/acme/app")),
        ("ssh://[fe80::1%25eth0]/app", Some("fe80+3a+3a1/app")),
        ("work:acme/app.git", Some("work/acme/app")),
        // Hosts with several addresses for one repository.
        ("https://dev.azure.com/org/My%20Project/_git/app", Some("dev.azure.com/org/my+20project/app")),
        ("https://org@dev.azure.com/org/My%20Project/_git/app", Some("dev.azure.com/org/my+20project/app")),
        ("git@ssh.dev.azure.com:v3/org/My%20Project/app", Some("dev.azure.com/org/my+20project/app")),
        ("https://org.visualstudio.com/My%20Project/_git/app", Some("dev.azure.com/org/my+20project/app")),
        ("https://org.visualstudio.com/DefaultCollection/p/_git/app", Some("dev.azure.com/org/p/app")),
        ("org@vs-ssh.visualstudio.com:v3/org/p/app", Some("dev.azure.com/org/p/app")),
        ("https://dev.azure.com/org/_git/app", Some("dev.azure.com/org/app/app")),
        ("https://org.visualstudio.com/_git/app", Some("dev.azure.com/org/app/app")),
        ("https://bb.example/scm/PRJ/app.git", Some("bb.example/prj/app")),
        ("ssh://git@bb.example:7999/prj/app.git", Some("bb.example/prj/app")),
        ("git@host.example:scm/sub/app", Some("host.example/scm/sub/app")),
        // No network repository.
        ("", None),
        ("   ", None),
        ("https://github.com", None),
        ("https://github.com/", None),
        ("https://host.example/.git", None),
        ("https:///acme/app", None),
        ("https://@/acme/app", None),
        ("https://host.example:port/app", None),
        ("ssh://2001:db8::1/app", None),
        ("ssh://[nonsense]/app", None),
        ("git@github.com:", None),
        (":acme/app", None),
        ("ext::sh -c whatever", None),
        ("codecommit::eu-west-1://app", None),
        ("file:///srv/git/app.git", None),
        ("/srv/git/app.git", None),
        ("/srv/git:old/app.git", None),
        ("./host:path", None),
        ("../app", None),
        ("app", None),
        (r"C:\work\app", None),
        ("C:/work/app", None),
        ("c:app", None),
        ("C://work/app", None),
        (r"\\server\share\app", None),
    ];

    #[test]
    fn every_form_of_url_has_its_slug() {
        for (url, expected) in TABLE {
            let slug = slug_from_remote_url(url);
            assert_eq!(slug.as_deref(), *expected, "{url:?}");
            assert!(slug.is_none_or(|slug| slug::is_valid(&slug)), "{url:?}");
        }
    }

    #[test]
    fn a_path_of_this_machine_is_local() {
        let table = [
            ("/srv/git/app.git", "/srv/git/app.git"),
            ("../app", "../app"),
            ("file:///srv/my%20app", "/srv/my app"),
            ("FILE://localhost/srv/app", "/srv/app"),
            ("/srv/git:old/app", "/srv/git:old/app"),
            ("C:/work/app", "C:/work/app"),
        ];
        for (url, path) in table {
            assert_eq!(parse(url), Some(Address::Local(PathBuf::from(path))), "{url:?}");
        }
    }

    #[test]
    fn a_long_path_still_makes_a_valid_slug() {
        let url = format!("https://host.example/{}", "group/".repeat(100));
        let slug = slug_from_remote_url(&url).unwrap();
        assert!(slug::is_valid(&slug), "{slug}");
        assert_ne!(Some(slug), slug_from_remote_url(&format!("{url}x")));
    }
}
