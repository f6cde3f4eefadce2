//! The `ext_authz` service that Envoy, Istio and gateways made of Envoy ask over gRPC (`envoy.service.auth.v3.Authorization`), on a
//! listener of its own. It runs on the worker that took the connection, like every request.

use std::io;
use std::pin::Pin;

use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use http::{Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tonic::Status;
use tonic::server::{Grpc, UnaryService};
use tonic_prost::ProstCodec;

use crate::door::ask::{Answer, Question, SignedOut, ask};
use crate::door::check;
use crate::gate::client::is_trusted;
use crate::gate::{Arrival, Gate};
use crate::http::body::Body;
use crate::http::visit::Peer;

/// The one method of the service.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Answers one call.
pub async fn answer(gate: &Gate, peer: &Peer, arrival: Arrival) -> Response<Body> {
    let Arrival { parts, body, .. } = arrival;
    let refusal = if !is_trusted(peer, &gate.plan().edge.trusted_proxies) {
        tracing::warn!(peer = ?peer.remote, "a peer that is no trusted proxy asks on `listen.ext_authz`");
        Some(Status::permission_denied("only proxies that `trusted_proxies` names may ask here"))
    } else if parts.uri.path() != CHECK {
        Some(Status::unimplemented("there is no such method here"))
    } else {
        None
    };
    if let Some(status) = refusal {
        return status.into_http();
    }
    let mut grpc = Grpc::new(ProstCodec::<CheckResponse, CheckRequest>::default());
    grpc.unary(Checking { gate, peer }, Request::from_parts(*parts, body))
        .await
        .map(|body| Body::Streamed(UnsyncBoxBody::new(body.map_err(io::Error::other)), None))
}

struct Checking<'g> {
    gate: &'g Gate,
    peer: &'g Peer,
}

impl<'g> UnaryService<CheckRequest> for Checking<'g> {
    type Response = CheckResponse;
    type Future = Pin<Box<dyn Future<Output = Result<tonic::Response<CheckResponse>, Status>> + 'g>>;

    fn call(&mut self, request: tonic::Request<CheckRequest>) -> Self::Future {
        let (gate, peer) = (self.gate, self.peer);
        Box::pin(async move { Ok(tonic::Response::new(decide(gate, peer, request.into_inner()).await)) })
    }
}

async fn decide(gate: &Gate, peer: &Peer, request: CheckRequest) -> CheckResponse {
    let asked = match check::read(request) {
        Ok(asked) => asked,
        Err(malformed) => {
            tracing::warn!(peer = ?peer.remote, reason = malformed.reason, "a question of Envoy can't be answered");
            let (parts, ()) = Request::new(()).into_parts();
            return check::refuse(gate.refuse_malformed(&gate.begin_record(), peer, &parts, &malformed)).await;
        }
    };
    let question = Question {
        parts: Box::new(asked.parts),
        told: asked.told,
        peer: &asked.source,
        signed_out: SignedOut::AsRouted,
    };
    match ask(gate, question, StatusCode::OK).await {
        Answer::Pass(permit) => check::pass(gate, *permit),
        Answer::Refused(response) => check::refuse(*response).await,
    }
}
