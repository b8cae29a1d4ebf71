//! A collector: it takes what an exporter sends over HTTP, and decodes it with the types of the protocol.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    sync::{
        Mutex,
        mpsc::{Receiver, channel},
    },
    time::Duration,
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest, common::v1::any_value::Value, trace::v1::Span,
};
use prost::Message;

/// Long enough for anything that is not stuck.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Collector {
    pub(crate) endpoint: String,
    requests: Mutex<Receiver<ExportTraceServiceRequest>>,
}

impl Collector {
    /// Answers its first requests with these, all others with 200.
    pub(crate) fn start(mut first: Vec<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                while let Some(request) = read(&mut stream) {
                    let status = if first.is_empty() { "200 OK" } else { first.remove(0) };
                    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).unwrap();
                    if sender.send(request).is_err() {
                        return;
                    }
                }
            }
        });
        Self { endpoint, requests: Mutex::new(requests) }
    }

    pub(crate) fn next(&self) -> ExportTraceServiceRequest {
        self.requests.lock().unwrap().recv_timeout(PATIENCE).unwrap()
    }

    /// Whatever has come already.
    pub(crate) fn seen(&self) -> usize {
        self.requests.lock().unwrap().try_iter().count()
    }
}

/// One request. `None`: the other side is gone.
fn read(stream: &mut TcpStream) -> Option<ExportTraceServiceRequest> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).ok()?;
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-protobuf\r\n"), "{head}");
    let length = head.split("content-length: ").nth(1).unwrap().split('\r').next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    Some(ExportTraceServiceRequest::decode(&body[..]).unwrap())
}

/// All spans of a request.
pub(crate) fn spans(request: &ExportTraceServiceRequest) -> Vec<&Span> {
    let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    scopes.flat_map(|scope| &scope.spans).collect()
}

/// The attributes of a span as text, sorted.
pub(crate) fn attributes(span: &Span) -> Vec<String> {
    let mut attributes: Vec<String> = span
        .attributes
        .iter()
        .map(|attribute| match attribute.value.as_ref().unwrap().value.as_ref().unwrap() {
            Value::StringValue(text) => format!("{}={text:?}", attribute.key),
            Value::IntValue(number) => format!("{}={number}", attribute.key),
            other => format!("{}={other:?}", attribute.key),
        })
        .collect();
    attributes.sort();
    attributes
}
