//! Bytes: values of registers and blocks, in whole or in part.

use std::ops::Range;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use quipu_merge::{BlockId, Codec, Link};
use quipu_store::Value;

use super::app::App;
use super::body::{Pieces, send};
use super::input::{Params, Part};
use super::keys::AtQuery;
use super::problem::{self, Answer, Problem};
use super::registers::{is_known, tag, tag_header};

/// So many bytes of a long value are read at once.
const PIECE: u64 = 1 << 20;

/// What of a representation is wanted.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    All,
    Part(Range<u64>),
    Nothing,
}

/// What `Range` asks for of so many bytes. Of several ranges, and of what cannot be read, all is sent.
fn wanted(headers: &HeaderMap, len: u64, tag: &str) -> Wanted {
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    if headers.contains_key(header::IF_RANGE) && text(header::IF_RANGE) != Some(tag) {
        return Wanted::All;
    }
    let range = text(header::RANGE).and_then(|range| range.strip_prefix("bytes="));
    let Some((first, last)) = range.and_then(|range| range.trim().split_once('-')) else {
        return Wanted::All;
    };
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(first) || !digits(last) || (first.is_empty() && last.is_empty()) {
        return Wanted::All;
    }
    // What has too many digits is beyond any end.
    let number = |text: &str| text.parse::<u64>().unwrap_or(u64::MAX);
    let part = match (first, last) {
        ("", last) => len.saturating_sub(number(last))..len,
        (first, "") => number(first)..len,
        (first, last) if number(first) > number(last) => return Wanted::All,
        (first, last) => number(first)..number(last).saturating_add(1).min(len),
    };
    if part.is_empty() { Wanted::Nothing } else { Wanted::Part(part) }
}

/// The bytes that an answer will have in it, if any.
fn sent(headers: &HeaderMap, len: u64, tag: &str) -> Option<Range<u64>> {
    match wanted(headers, len, tag) {
        _ if is_known(headers, tag) => None,
        Wanted::All => Some(0..len),
        Wanted::Part(range) => Some(range),
        Wanted::Nothing => None,
    }
}

/// An answer with what is wanted of `len` bytes, which `body` makes of a range.
fn answer(
    headers: &HeaderMap,
    (len, tag, kind): (u64, &str, &'static str),
    body: impl FnOnce(Range<u64>) -> Body,
) -> Response {
    let tagged = (header::ETAG, tag_header(tag));
    let ranges = (header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    if is_known(headers, tag) {
        return (StatusCode::NOT_MODIFIED, [tagged, ranges]).into_response();
    }
    let number =
        |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("0"));
    let (status, range) = match wanted(headers, len, tag) {
        Wanted::All => (StatusCode::OK, 0..len),
        Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Wanted::Nothing => {
            let all = (header::CONTENT_RANGE, number(format!("bytes */{len}")));
            let problem = Problem::new(problem::RANGE, format!("it has {len} bytes"));
            return ([all, ranges], problem).into_response();
        }
    };
    let length = (header::CONTENT_LENGTH, number((range.end - range.start).to_string()));
    let kind = (header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let mut headers = vec![tagged, ranges, length, kind];
    if status == StatusCode::PARTIAL_CONTENT {
        let part = format!("bytes {}-{}/{len}", range.start, range.end - 1);
        headers.push((header::CONTENT_RANGE, number(part)));
    }
    let mut response = (status, body(range)).into_response();
    response.headers_mut().extend(headers);
    response
}

/// The bytes of a register's value: the first, where several conflict. `Range` asks for a part.
#[utoipa::path(get, path = "/v1/registers/{key}/value", tag = "keys",
    params(AtQuery, ("key" = String, Path), ("Range" = Option<String>, Header)),
    responses(
        (status = 200, description = "What was asked for.", body = Vec<u8>, content_type = "application/octet-stream",
            headers(("ETag" = String), ("Quipu-Conflicts" = u64))),
        (status = 206, description = "The part that was asked for.", body = Vec<u8>, content_type = "application/octet-stream",
            headers(("ETag" = String), ("Content-Range" = String))),
        (status = 304, description = "It is as `If-None-Match` says."),
        (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
    ))]
pub async fn value(
    State(app): State<Arc<App>>,
    Part(key): Part<String>,
    Params(query): Params<AtQuery>,
    headers: HeaderMap,
) -> Answer<Response> {
    let found = app.read(move |app| {
        let snapshot = app.snapshot(query.at.as_deref(), query.certified)?;
        let writes = snapshot.register(&key)?;
        let missing = || Problem::new(problem::NOT_FOUND, "no such register");
        let first = writes.first().ok_or_else(missing)?;
        let value = first.value.clone().unwrap_or(Value::Missing);
        Ok((value, tag(&writes), writes.len() - 1))
    });
    let (value, tag, conflicts) = found.await?;
    let kind = "application/octet-stream";
    let mut response = match value {
        Value::Bytes(bytes) => {
            let len = bytes.len() as u64;
            answer(&headers, (len, &tag, kind), |range| part(bytes.into(), range))
        }
        Value::Long(link) => {
            if let Some(range) = sent(&headers, link.size, &tag) {
                app.have(link, range).await?;
            }
            answer(&headers, (link.size, &tag, kind), |range| {
                let (pieces, body) = Pieces::new(Some(range.end - range.start));
                tokio::spawn(send_long(app.clone(), link, range, pieces));
                Body::new(body)
            })
        }
        gone => return Err(Problem::unavailable(&gone)),
    };
    response.headers_mut().insert("quipu-conflicts", conflicts.into());
    Ok(response)
}

fn part(bytes: Bytes, range: Range<u64>) -> Body {
    let at = |place: u64| usize::try_from(place).map_or(bytes.len(), |at| at.min(bytes.len()));
    Body::from(bytes.slice(at(range.start)..at(range.end)))
}

/// Sends a range of a long value. Between two pieces nothing of the database is held, however long the
/// caller takes.
async fn send_long(
    app: Arc<App>,
    link: Link,
    range: Range<u64>,
    pieces: tokio::sync::mpsc::Sender<std::io::Result<Bytes>>,
) {
    let mut from = range.start;
    while from < range.end {
        let to = (from + PIECE).min(range.end);
        let piece = app.read(move |app| {
            let mut bytes = Vec::new();
            let read = app.ledger.snapshot()?.read_long_range(link, from..to, |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })?;
            // It was erased or pruned, and collected, while it was sent.
            read.map_err(|_| Problem::unavailable(&Value::Missing))?;
            Ok(Bytes::from(bytes))
        });
        let failed = |problem: Problem| std::io::Error::other(problem.code());
        let piece = piece.await.map_err(failed);
        let is_whole = piece.is_ok();
        if !send(&pieces, piece, app.limits.idle_timeout).await || !is_whole {
            return;
        }
        from = to;
    }
}

/// A block of a long value. `Range` asks for a part.
#[utoipa::path(get, path = "/v1/blocks/{cid}", tag = "keys",
    params(("cid" = String, Path), ("Range" = Option<String>, Header)),
    responses(
        (status = 200, description = "What was asked for.", body = Vec<u8>, content_type = "application/octet-stream",
            headers(("ETag" = String))),
        (status = 206, description = "The part that was asked for.", body = Vec<u8>, content_type = "application/octet-stream",
            headers(("ETag" = String), ("Content-Range" = String))),
        (status = 304, description = "The caller has it."),
        (status = "default", description = "Why not.", body = Problem,
        content_type = "application/problem+json"),
    ))]
pub async fn block(
    State(app): State<Arc<App>>,
    Part(cid): Part<String>,
    headers: HeaderMap,
) -> Answer<Response> {
    let id: BlockId = cid.parse().map_err(|_| Problem::bad("this is no id of a block"))?;
    app.have_block(id).await?;
    let found = app.read(move |app| Ok(app.ledger.block(id)?)).await?;
    let found = found.ok_or_else(|| Problem::new(problem::NOT_FOUND, "no such block here"))?;
    let kind = match id.codec {
        Codec::Raw => "application/octet-stream",
        Codec::DagCbor => "application/vnd.ipld.dag-cbor",
    };
    let (len, tag) = (found.len() as u64, format!("\"{id}\""));
    Ok(answer(&headers, (len, &tag, kind), |range| part(found.into(), range)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let of = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::RANGE, text.parse().unwrap());
            wanted(&headers, 100, "\"t\"")
        };
        assert_eq!(of("bytes=0-0"), Wanted::Part(0..1));
        assert_eq!(of("bytes=10-"), Wanted::Part(10..100));
        assert_eq!(of("bytes=-10"), Wanted::Part(90..100));
        assert_eq!(of("bytes=-1000"), Wanted::Part(0..100));
        assert_eq!(of("bytes=50-1000"), Wanted::Part(50..100));
        assert_eq!(of("bytes=99-99999999999999999999999"), Wanted::Part(99..100));
        for beyond in ["bytes=100-", "bytes=100-200", "bytes=-0"] {
            assert_eq!(of(beyond), Wanted::Nothing, "{beyond}");
        }
        for other in
            ["bytes=5-4", "bytes=-", "bytes=a-b", "bytes=0-1,4-5", "lines=1-2", "bytes=+1-2"]
        {
            assert_eq!(of(other), Wanted::All, "{other}");
        }
    }

    #[test]
    fn a_part_of_something_else_is_not_sent() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=0-1".parse().unwrap());
        headers.insert(header::IF_RANGE, "\"t\"".parse().unwrap());
        assert_eq!(wanted(&headers, 100, "\"t\""), Wanted::Part(0..2));
        assert_eq!(wanted(&headers, 100, "\"u\""), Wanted::All);
    }
}
