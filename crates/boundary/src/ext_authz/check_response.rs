//! What Envoy is answered: built by two constructors and nowhere else.
//!
//! Envoy lets a request through by the code of `status` alone. It is zero where nothing is set, and then a refusal beside it does
//! not count; so each constructor sets both, and no answer is made field by field.

use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue as Field, HeaderValueOption};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use envoy_types::pb::google::rpc;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tonic::Code;

use crate::answer::Carried;
use crate::refusal::Refusal;

/// The request goes on, with `carried` in place of the client's, without the headers `removed`.
pub(super) fn allow(carried: Option<&Carried>, removed: &[&HeaderName]) -> CheckResponse {
    let ok = OkHttpResponse {
        headers: carried.map(|(name, value)| field(name, value)).into_iter().collect(),
        headers_to_remove: removed.iter().map(ToString::to_string).collect(),
        ..OkHttpResponse::default()
    };
    CheckResponse {
        status: Some(status(Code::Ok, "")),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::OkResponse(ok)),
    }
}

/// The request does not go on, and its client is told what any other door would tell it. `asked` are the request's headers.
pub(super) fn deny(refusal: &Refusal, asked: &HeaderMap) -> CheckResponse {
    let code = match refusal.status {
        StatusCode::UNAUTHORIZED => Code::Unauthenticated,
        _ => Code::PermissionDenied,
    };
    let (media, body) = refusal.body(asked);
    let headers = refusal.headers();
    let headers = headers.iter().map(|(name, value)| field(name, value));
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus {
            code: i32::from(refusal.status.as_u16()),
        }),
        headers: headers.chain([field(&CONTENT_TYPE, &HeaderValue::from_static(media))]).collect(),
        body,
    };
    // For Envoy's log, by which the operator finds the record.
    let said = [
        ("decision_id", refusal.decision_id.clone()),
        ("reason", refusal.reason.as_str().to_owned()),
    ];
    let said = said.map(|(name, text)| {
        (
            name.to_owned(),
            Value {
                kind: Some(Kind::StringValue(text)),
            },
        )
    });
    CheckResponse {
        status: Some(status(code, refusal.reason.as_str())),
        dynamic_metadata: Some(Struct {
            fields: said.into_iter().collect(),
        }),
        http_response: Some(HttpResponse::DeniedResponse(denied)),
    }
}

fn status(code: Code, message: &str) -> rpc::Status {
    rpc::Status {
        code: i32::from(code),
        message: message.to_owned(),
        details: Vec::new(),
    }
}

/// A header that takes the place of every other of its name.
fn field(name: &HeaderName, value: &HeaderValue) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(Field {
            key: name.to_string(),
            value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
            raw_value: Vec::new(),
        }),
        append_action: i32::from(HeaderAppendAction::OverwriteIfExistsOrAdd),
        ..HeaderValueOption::default()
    }
}
