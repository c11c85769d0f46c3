use std::cell::Cell;

use super::*;
#[cfg(target_arch = "wasm32")]
use wasm_bindgen_test::wasm_bindgen_test as test;

thread_local! {
    /// What look-ups have looked at.
    pub(super) static VISITED: Cell<usize> = const { Cell::new(0) };
}

fn router(routes: &[(&str, &str, &str)]) -> Router {
    router_with(Slashes::default(), routes)
}

fn router_with(slashes: Slashes, routes: &[(&str, &str, &str)]) -> Router {
    let mut router = Router::default();
    for (index, (host, methods, template)) in routes.iter().enumerate() {
        let hosts: Vec<_> = host
            .split_whitespace()
            .map(|host| HostPattern::parse(host).unwrap())
            .collect();
        let methods: Vec<_> = methods.split_whitespace().map(str::to_owned).collect();
        let template = Template::parse(template).unwrap();
        router
            .insert(&hosts, &methods, &template, slashes, index)
            .unwrap();
    }
    router
}

fn find(router: &Router, host: &str, method: &str, target: &str) -> Result<(usize, String), Miss> {
    let path = path::parse(target.as_bytes()).unwrap();
    router.find(host.as_bytes(), method, &path).map(|taken| {
        let params: Vec<_> = taken
            .params
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        (taken.route, params.join(" "))
    })
}

fn methods(names: &[&str]) -> Miss {
    Miss::Method(names.iter().map(|name| (*name).to_owned()).collect())
}

#[test]
fn concrete_comes_before_templated_from_left_to_right() {
    let router = router(&[
        ("", "GET", "/{a}/x"),
        ("", "GET", "/p/{b}"),
        ("", "GET", "/p/x"),
        ("", "GET", "/p/{n}.json"),
        ("", "GET", "/p/long-{n}.json"),
        ("", "GET", "/{rest=**}"),
    ]);
    for (target, route, params) in [
        ("/p/x", 2, ""),
        ("/p/y", 1, "b=y"),
        ("/p/y.json", 3, "n=y"),
        ("/p/long-y.json", 4, "n=y"),
        ("/q/x", 0, "a=q"),
        ("/q/y/z%40", 5, "rest=q/y/z%40"),
        ("/p/x/z", 5, "rest=p/x/z"),
        ("/%70/x", 2, ""),
    ] {
        assert_eq!(
            find(&router, "", "GET", target),
            Ok((route, params.into())),
            "{target}"
        );
    }
    assert_eq!(find(&router, "", "GET", "/"), Err(Miss::NotFound));
}

#[test]
fn a_trailing_slash_is_another_path() {
    let router = router(&[
        ("", "GET", "/a"),
        ("", "GET", "/b/"),
        ("", "GET", "/c/{id}"),
    ]);
    assert_eq!(find(&router, "", "GET", "/a/"), Err(Miss::NotFound));
    assert_eq!(find(&router, "", "GET", "/b"), Err(Miss::NotFound));
    assert_eq!(find(&router, "", "GET", "/b/"), Ok((1, String::new())));
    assert_eq!(find(&router, "", "GET", "/c/"), Err(Miss::NotFound));
}

#[test]
fn methods_fall_back_as_http_says_and_misses_list_the_rest() {
    let router = router(&[
        ("", "GET", "/a"),
        ("", "PUT DELETE", "/a"),
        ("", "", "/any"),
        ("", "POST", "/any"),
        ("", "POST", "/a/special"),
        ("", "GET", "/a/{id}"),
    ]);
    assert_eq!(find(&router, "", "HEAD", "/a").unwrap().0, 0);
    assert_eq!(
        find(&router, "", "POST", "/a"),
        Err(methods(&["DELETE", "GET", "HEAD", "PUT"]))
    );
    assert_eq!(
        find(&router, "", "get", "/a"),
        Err(methods(&["DELETE", "GET", "HEAD", "PUT"]))
    );
    assert_eq!(find(&router, "", "POST", "/any").unwrap().0, 3);
    assert_eq!(find(&router, "", "BREW", "/any").unwrap().0, 2);
    assert_eq!(
        find(&router, "", "GET", "/a/special"),
        Err(methods(&["POST"]))
    );
}

#[test]
fn the_nearer_host_wins_and_the_others_fill_in() {
    let router = router(&[
        ("", "GET", "/a"),
        ("*.example.com", "GET", "/a"),
        ("api.example.com", "GET", "/a"),
        ("*.eu.example.com", "GET", "/a"),
        ("", "GET", "/b"),
    ]);
    for (host, route) in [
        ("other.test", 0),
        ("", 0),
        ("x.example.com", 1),
        ("API.example.com:8443", 2),
        ("api.example.com.", 2),
        ("x.eu.example.com", 3),
        ("example.com", 0),
    ] {
        assert_eq!(find(&router, host, "GET", "/a").unwrap().0, route, "{host}");
    }
    assert_eq!(find(&router, "api.example.com", "GET", "/b").unwrap().0, 4);
}

#[test]
fn routes_that_no_request_can_tell_apart_conflict() {
    let mut router = router(&[("", "GET", "/a/{id}")]);
    let template = Template::parse("/a/{other}").unwrap();
    assert_eq!(
        router.insert(&[], &["POST".into()], &template, Slashes::default(), 1),
        Ok(())
    );
    assert_eq!(
        router.insert(&[], &["GET".into()], &template, Slashes::default(), 2),
        Err(Conflict { with: 0 })
    );
}

#[test]
fn no_path_makes_the_walk_go_twice_through_a_node() {
    // Literal and parameter at each level: 2^16 leaves would be walked by a naive search.
    let mut routes = Vec::new();
    for bits in 0..256u32 {
        let template: String = (0..8)
            .map(|level| {
                if bits >> level & 1 == 1 {
                    "/a".to_owned()
                } else {
                    format!("/{{p{level}}}")
                }
            })
            .collect();
        routes.push(template + "/end");
    }
    let list: Vec<_> = routes
        .iter()
        .map(|template| ("", "GET", template.as_str()))
        .collect();
    let router = router(&list);
    assert_eq!(
        find(&router, "", "GET", &("/a".repeat(8) + "/end"))
            .unwrap()
            .0,
        255
    );
    let miss = "/a".repeat(8) + "/other";
    assert_eq!(find(&router, "", "GET", &miss), Err(Miss::NotFound));
    let nodes = router.any.nodes.len();
    assert!(visited(&router, "", &miss) <= nodes, "{nodes} nodes");
}

#[test]
fn a_trailing_slash_can_be_ignored() {
    let ignored = Slashes {
        trailing_ignored: true,
        ..Slashes::default()
    };
    let router = router_with(
        ignored,
        &[
            ("", "GET", "/a"),
            ("", "GET", "/b/"),
            ("", "GET", "/c/{id}"),
            ("", "", "/d"),
            ("", "POST", "/d/"),
            ("", "GET", "/"),
            ("", "GET", "/e/{rest=**}"),
            ("", "GET", "/{n}.json"),
        ],
    );
    for (method, target, route, params) in [
        ("GET", "/a", 0, ""),
        ("GET", "/a/", 0, ""),
        ("HEAD", "/a/", 0, ""),
        ("GET", "/b", 1, ""),
        ("GET", "/b/", 1, ""),
        ("GET", "/c/1/", 2, "id=1"),
        ("POST", "/d/", 4, ""),
        ("GET", "/d/", 3, ""),
        ("POST", "/d", 3, ""),
        ("GET", "/", 5, ""),
        ("GET", "/e/x/", 6, "rest=x/"),
        ("GET", "/x.json/", 7, "n=x"),
    ] {
        let found = find(&router, "", method, target);
        assert_eq!(found, Ok((route, params.into())), "{method} {target}");
    }
    assert_eq!(find(&router, "", "GET", "/e/"), Err(Miss::NotFound));
    assert_eq!(find(&router, "", "GET", "/c/"), Err(Miss::NotFound));
    assert_eq!(
        find(&router, "", "PUT", "/a/"),
        Err(methods(&["GET", "HEAD"]))
    );
}

#[test]
fn what_is_written_beats_what_is_implied() {
    let ignored = Slashes {
        trailing_ignored: true,
        ..Slashes::default()
    };
    let mut router = router_with(ignored, &[("", "GET", "/a")]);
    let slash = Template::parse("/a/").unwrap();
    let strict = Slashes::default();
    assert_eq!(router.insert(&[], &[], &slash, strict, 1), Ok(()));
    assert_eq!(find(&router, "", "GET", "/a/").unwrap().0, 1);
    assert_eq!(find(&router, "", "GET", "/a").unwrap().0, 0);
    assert_eq!(
        find(&router, "", "PUT", "/a"),
        Err(methods(&["GET", "HEAD"]))
    );
}

#[test]
fn an_encoded_slash_is_taken_by_routes_that_keep_it_alone() {
    let kept = Slashes {
        encoded_kept: true,
        ..Slashes::default()
    };
    let mut router = router_with(
        kept,
        &[("", "GET", "/files/{name}"), ("", "GET", "/f/{n}.txt")],
    );
    for (index, template) in ["/strict/{name}", "/files/{name}/raw", "/{rest=**}"]
        .iter()
        .enumerate()
    {
        let template = Template::parse(template).unwrap();
        let strict = Slashes::default();
        router
            .insert(&[], &["GET".into()], &template, strict, index + 2)
            .unwrap();
    }
    for (target, params) in [
        ("/files/a%2Fb", (0, "name=a%2Fb")),
        ("/files/%2f", (0, "name=%2f")),
        ("/f/a%2Fb.txt", (1, "n=a%2Fb")),
        ("/files/a%252Fb", (0, "name=a%252Fb")),
    ] {
        assert_eq!(
            find(&router, "", "GET", target),
            Ok((params.0, params.1.into())),
            "{target}"
        );
    }
    // Never as a slash that separates, whatever would lie behind it.
    for target in [
        "/files%2Fa",
        "/strict/a%2Fb",
        "/strict%2fa",
        "/files/a%2Fb/raw",
        "/nowhere/a%2Fb",
    ] {
        assert_eq!(
            find(&router, "", "GET", target),
            Err(Miss::EncodedSlash),
            "{target}"
        );
    }
    assert_eq!(
        find(&router, "", "PUT", "/files/a%2Fb"),
        Err(Miss::EncodedSlash)
    );
}

#[test]
fn path_parameters_lead_to_no_other_route() {
    let router = router(&[
        ("", "GET", "/{page}"),
        ("", "POST", "/admin"),
        ("", "GET", "/admin/{id}"),
        ("", "GET", "/{page}/{id}"),
        ("", "GET", "/colors/{color}"),
        ("", "GET", "/colors/"),
    ]);
    for (target, route) in [
        ("/x;v=1", 0),
        ("/x;v=1/y;w", 3),
        ("/admin/1;v=1", 2),
        ("/colors/;color=blue", 4),
        ("/colors/%3Bcolor=blue", 4),
    ] {
        assert_eq!(
            find(&router, "", "GET", target).unwrap().0,
            route,
            "{target}"
        );
    }
    for target in ["/admin;x", "/admin%3bx/1", "/admin;/1", "/%61dmin;a;b"] {
        let found = find(&router, "", "GET", target);
        assert_eq!(found, Err(Miss::PathParameter), "{target}");
    }
    assert_eq!(find(&router, "", "GET", "/a/b;c/d"), Err(Miss::NotFound));
}

/// What one look-up looks at.
fn visited(router: &Router, host: &str, target: &str) -> usize {
    VISITED.with(|visited| visited.set(0));
    let _ = find(router, host, "GET", target);
    VISITED.with(Cell::get)
}

#[test]
fn ten_thousand_routes_are_searched_in_as_many_steps_as_ten() {
    let routes = |count: usize| {
        let texts: Vec<_> = (0..count)
            .map(|n| {
                (
                    format!("h{n}.test *.w{n}.test"),
                    format!("/v1/r{n}/{{id}}/items/{{item}}"),
                )
            })
            .chain([(String::new(), "/v1/{any}/{id}/{rest=**}".to_owned())])
            .collect();
        let rows: Vec<_> = texts
            .iter()
            .map(|(hosts, path)| ("", "GET", path.as_str(), hosts.as_str()))
            .collect();
        let on_hosts: Vec<_> = rows.iter().map(|row| (row.3, row.1, row.2)).collect();
        let anywhere: Vec<_> = rows.iter().map(|row| (row.0, row.1, row.2)).collect();
        (router(&on_hosts), router(&anywhere))
    };
    let (few_hosts, few) = routes(10);
    let (many_hosts, many) = routes(10_000);
    for target in [
        "/v1/r7/a/items/b",
        "/v1/r7/a/items/b/c",
        "/v1/none/a/b",
        "/nothing/at/all",
        "/",
    ] {
        assert_eq!(
            visited(&few, "", target),
            visited(&many, "", target),
            "{target}"
        );
        for host in ["h7.test", "a.b.w7.test", "other.test"] {
            let steps = visited(&many_hosts, host, target);
            assert_eq!(visited(&few_hosts, host, target), steps, "{host}{target}");
            assert!(steps < 40, "{host}{target}: {steps}");
        }
    }
}
