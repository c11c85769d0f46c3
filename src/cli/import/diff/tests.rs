use super::*;

fn policy(route: Value, schemas: Value) -> Value {
    json!({"version": "forecourt/v1", "schemas": schemas, "routes": [route]})
}

fn with_body(schema: Value) -> Value {
    let route = json!({
        "match": {"methods": ["POST"], "path": "/a/{id}"}, "access": "public",
        "request": {"parameters": [], "body": {"schema": {"$ref": "#/schemas/A"}}}
    });
    policy(route, json!({"A": schema}))
}

fn ways(old: &Value, new: &Value) -> Vec<&'static str> {
    Diff::of(old, new)
        .0
        .iter()
        .map(|change| change.way.as_str())
        .collect()
}

#[test]
fn schemas_are_compared_keyword_by_keyword() {
    let rows = [
        (
            json!({"type": "integer"}),
            json!({"type": "number"}),
            "loosened",
        ),
        (
            json!({"type": "string"}),
            json!({"type": ["string", "null"]}),
            "loosened",
        ),
        (json!({"type": "string"}), json!({}), "loosened"),
        (
            json!({"type": "string"}),
            json!({"type": "integer"}),
            "changed",
        ),
        (
            json!({"required": ["a", "b"]}),
            json!({"required": ["a"]}),
            "loosened",
        ),
        (json!({"maximum": 5}), json!({"maximum": 6}), "loosened"),
        (json!({"minimum": 5}), json!({"minimum": 4}), "loosened"),
        (json!({"maxLength": 5}), json!({}), "loosened"),
        (json!({"enum": [1]}), json!({"enum": [1, 2]}), "loosened"),
        (json!({"pattern": "a"}), json!({}), "loosened"),
        (json!({"pattern": "a"}), json!({"pattern": "b"}), "changed"),
        (
            json!({"additionalProperties": false}),
            json!({}),
            "loosened",
        ),
        (
            json!({"properties": {"a": {"type": "string"}}}),
            json!({}),
            "loosened",
        ),
        (
            json!({"items": {"maximum": 1}}),
            json!({"items": {"maximum": 2}}),
            "loosened",
        ),
        (
            json!({"allOf": [{"maximum": 1}, {"minimum": 0}]}),
            json!({"allOf": [{"minimum": 0}]}),
            "loosened",
        ),
        (
            json!({"anyOf": [{"maximum": 1}]}),
            json!({"anyOf": [{"maximum": 1}, {"type": "null"}]}),
            "loosened",
        ),
        (
            json!({"if": {"type": "null"}, "then": false}),
            json!({"if": {"type": "null"}}),
            "loosened",
        ),
        (
            json!({"not": {"type": "null"}}),
            json!({"not": {"type": "string"}}),
            "changed",
        ),
        (json!(false), json!({}), "loosened"),
        (
            json!({"properties": {"a": {"$ref": "#/schemas/A"}}, "maximum": 1}),
            json!({"properties": {"a": {"$ref": "#/schemas/A"}}, "maximum": 2}),
            "loosened",
        ),
    ];
    for (old, new, way) in rows {
        let (before, after) = (with_body(old.clone()), with_body(new.clone()));
        assert_eq!(ways(&before, &after), [way], "{old} → {new}");
        let back = if way == "loosened" { "tightened" } else { way };
        assert_eq!(ways(&after, &before), [back], "{new} → {old}");
        assert!(ways(&before, &before).is_empty());
        assert!(!Diff::of(&before, &after).is_safe());
        assert_eq!(Diff::of(&after, &before).is_safe(), back == "tightened");
    }
}

#[test]
fn what_is_new_is_no_loosening_of_what_was() {
    let old = with_body(json!({"additionalProperties": false, "properties": {"a": {}}}));
    let new = with_body(json!({"additionalProperties": false, "properties": {"a": {}, "b": {}}}));
    assert_eq!(ways(&old, &new), ["added"]);
    assert_eq!(ways(&new, &old), ["removed"]);
}

#[test]
fn access_is_compared_with_its_issuers_and_rules() {
    let with = |access: Value| {
        let route = json!({"match": {"methods": ["GET"], "path": "/a"}, "access": access});
        policy(route, json!({}))
    };
    let rows = [
        (json!({"anyOf": ["a"]}), json!("public")),
        (json!({"anyOf": ["a"]}), json!({"anyOf": ["a", "b"]})),
        (json!({"allOf": ["a", "b"]}), json!({"allOf": ["a"]})),
        (
            json!({"anyOf": ["a"]}),
            json!({"anyOf": ["a"], "optional": true}),
        ),
        (
            json!({"anyOf": ["a"], "claims": [{"claim": "x"}]}),
            json!({"anyOf": ["a"]}),
        ),
        (
            json!({"anyOf": [{"issuer": "a", "audiences": ["x"]}]}),
            json!({"anyOf": [{"issuer": "a", "audiences": ["x", "y"]}]}),
        ),
    ];
    for (old, new) in rows {
        assert_eq!(
            ways(&with(old.clone()), &with(new.clone())),
            ["loosened"],
            "{old} → {new}"
        );
        assert_eq!(ways(&with(new), &with(old)), ["tightened"]);
    }
}

#[test]
fn routes_and_parameters_come_and_go() {
    let with = |path: &str, parameters: Value, access: Value| {
        let matching = json!({"methods": ["GET"], "path": path});
        let request = json!({"parameters": parameters});
        policy(
            json!({"match": matching, "access": access, "request": request}),
            json!({}),
        )
    };
    let public = json!("public");
    let old = with("/a/{id}", json!([]), public.clone());
    assert!(ways(&old, &with("/a/{name}", json!([]), public.clone())).is_empty());
    let other = with("/b", json!([]), public.clone());
    assert_eq!(ways(&old, &other), ["loosened", "removed"]);
    let closed = with("/b", json!([]), json!({"anyOf": ["a"]}));
    assert_eq!(ways(&old, &closed), ["added", "removed"]);
    let parameter = |extra: Value| {
        let mut one = json!({"name": "n", "in": "query"});
        one.as_object_mut()
            .unwrap()
            .extend(extra.as_object().unwrap().clone());
        with("/a/{id}", json!([one]), public.clone())
    };
    assert_eq!(ways(&old, &parameter(json!({}))), ["added"]);
    assert_eq!(
        ways(&old, &parameter(json!({"required": true}))),
        ["tightened"]
    );
    assert_eq!(
        ways(&parameter(json!({"required": true})), &parameter(json!({}))),
        ["loosened"]
    );
    assert_eq!(
        ways(&parameter(json!({})), &parameter(json!({"explode": false}))),
        ["changed"]
    );
    let number = parameter(json!({"schema": {"type": "integer"}}));
    assert_eq!(ways(&number, &parameter(json!({}))), ["changed"]);
}

#[test]
fn bodies_are_compared_in_either_of_their_forms() {
    let with = |body: Value| {
        let matching = json!({"methods": ["POST"], "path": "/a"});
        policy(
            json!({"match": matching, "access": "public", "request": {"body": body}}),
            json!({}),
        )
    };
    let schema = json!({"type": "object"});
    let short = with(json!({"schema": schema}));
    let long = with(json!({"content": {"application/json": {"schema": schema}}}));
    assert!(ways(&short, &long).is_empty());
    let optional = with(json!({"schema": schema, "required": false}));
    assert_eq!(ways(&short, &optional), ["loosened"]);
    let larger = with(json!({"schema": schema, "maxBytes": 100_000}));
    assert_eq!(ways(&short, &larger), ["loosened"]);
    assert_eq!(ways(&larger, &short), ["tightened"]);
    let watched = with(json!({"schema": schema, "mode": "monitor"}));
    assert_eq!(ways(&short, &watched), ["loosened"]);
    let more = with(json!({"content": {"application/json": {"schema": schema}, "text/plain": {}}}));
    assert_eq!(ways(&short, &more), ["loosened"]);
    assert_eq!(ways(&more, &short), ["removed"]);
}
