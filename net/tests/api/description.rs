//! The description of the API: that it can be used, and says what there is.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use crate::client::Server;

const OPERATIONS: [&str; 34] = [
    "delete /v1/registers/{key}",
    "delete /v1/tokens/{id}",
    "get /livez",
    "get /metrics",
    "get /readyz",
    "get /tlog/checkpoint",
    "get /v1/authors",
    "get /v1/blocks/{cid}",
    "get /v1/checkpoints",
    "get /v1/checkpoints/{height}",
    "get /v1/checkpoints/{height}/note",
    "get /v1/conflicts",
    "get /v1/counters/{key}",
    "get /v1/cuts",
    "get /v1/events",
    "get /v1/events/stream",
    "get /v1/events/{id}",
    "get /v1/forks",
    "get /v1/keys",
    "get /v1/ledger",
    "get /v1/lists/{key}",
    "get /v1/peers",
    "get /v1/registers/{key}",
    "get /v1/registers/{key}/value",
    "get /v1/sets/{key}",
    "get /v1/status",
    "get /v1/tokens",
    "get /v1/validators",
    "post /v1/control",
    "post /v1/counters/{key}",
    "post /v1/lists/{key}",
    "post /v1/sets/{key}",
    "post /v1/transactions",
    "put /v1/registers/{key}/value",
];

/// Calls `visit` with every object in it.
fn each(json: &Json, visit: &mut dyn FnMut(&serde_json::Map<String, Json>)) {
    match json {
        Json::Object(map) => {
            visit(map);
            map.values().for_each(|inner| each(inner, visit));
        }
        Json::Array(all) => all.iter().for_each(|inner| each(inner, visit)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_description_is_whole() {
    let server = Server::start();
    let reply = server.client_with(None).get("/openapi.json").await;
    assert_eq!(reply.header("content-type"), "application/json");
    let api = reply.good();
    if let Some(path) = std::env::var_os("QUIPU_OPENAPI_OUT") {
        std::fs::write(path, reply.text()).unwrap();
    }
    assert!(api["openapi"].as_str().unwrap().starts_with("3."));
    assert!(api["components"]["securitySchemes"]["token"]["scheme"] == "bearer");
    each(&api, &mut |map| {
        if let Some(Json::String(reference)) = map.get("$ref") {
            let place = reference.strip_prefix('#').unwrap();
            assert!(api.pointer(place).is_some(), "{reference} leads nowhere");
        }
    });
    let operations = operations(&api);
    assert_eq!(operations, OPERATIONS.map(ToOwned::to_owned).into());
    let mut names = BTreeSet::new();
    each(&api["paths"], &mut |map| {
        if let Some(Json::String(name)) = map.get("operationId") {
            assert!(names.insert(name.clone()), "{name} is there twice");
        }
    });
    assert_eq!(names.len(), OPERATIONS.len());
}

/// The operations of a description, each of which is described and names what its path does.
fn operations(api: &Json) -> BTreeSet<String> {
    let mut operations = BTreeSet::new();
    for (path, methods) in api["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path: BTreeSet<_> = parameters
                .iter()
                .filter(|parameter| parameter["in"] == "path")
                .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
                .collect();
            let named: BTreeSet<_> = path
                .split('/')
                .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
                .map(ToOwned::to_owned)
                .collect();
            assert_eq!(in_path, named, "{method} {path}");
            let responses = operation["responses"].as_object().unwrap();
            assert!(!responses.is_empty());
            for response in responses.values() {
                assert!(response["description"].is_string(), "{method} {path}: {response}");
            }
            assert!(operation["summary"].is_string(), "{method} {path} is not described");
            operations.insert(format!("{method} {path}"));
        }
    }
    operations
}
