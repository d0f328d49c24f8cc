//! The MCP server: what clients ask is answered here or handed to a tool.
//!
//! What must hold: only what is no call at all (an unknown tool) is a protocol error; whatever goes wrong in a
//! tool is a result that the model can read. Waiting ends when the client cancels, and when the process ends.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CancelTaskParams, ContentBlock, DiscoverResult,
    ErrorData, GetTaskParams, GetTaskResult, Implementation, InitializeRequestParams, InitializeResult,
    JsonObject, ListResourcesResult, ListToolsResult, PaginatedRequestParams, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ServerCapabilities, ServerConfig,
    SubscribeRequestParams, SubscriptionFilter, TaskPayload, Tool, UnsubscribeRequestParams,
    UpdateTaskParams,
};
use rmcp::service::{RequestContext, RoleServer, ServerInitializeError, SubscriptionContext};
use rmcp::{ServerHandler, ServiceExt as _};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

use crate::args::Answer;
use crate::call::Call;
use crate::host::Host;
use crate::member::{Caller, Member};
use crate::news::Reached;
use crate::resource::{self, Subscription};
use crate::stdio::Watched;
use crate::waiting::{Client, Done, Outcome, Tasks};
use crate::wake::{Push, channel};
use crate::{Options, events, locks, mail, memory, presence, schema, unlock};

/// How long calls may go on being answered after the input has ended.
const DRAIN: Duration = Duration::from_secs(2);
/// How long clients may keep the list of tools, which never changes while the process runs.
const LIST_TTL_MS: u64 = 3_600_000;

/// The MCP server of one agent.
#[derive(Clone, Debug)]
pub(crate) struct Adapter {
    member: Arc<Member>,
    tools: Arc<[Tool]>,
    tasks: Tasks,
    subscription: Subscription,
    /// Mail goes to the host as a channel.
    channel: bool,
    legacy: bool,
    /// Cancelled when the input ends.
    closing: CancellationToken,
}

impl Adapter {
    /// An adapter that has not touched the broker.
    pub(crate) fn new(options: Options, host: Host) -> anyhow::Result<Self> {
        let channel = options.push == Push::Channel;
        let legacy = options.legacy || channel;
        let member = Arc::new(Member::new(options, host)?);
        Ok(Self {
            member,
            tools: schema::tools().into(),
            tasks: Tasks::default(),
            subscription: Subscription::default(),
            channel,
            legacy,
            closing: CancellationToken::new(),
        })
    }

    /// What a request shows of its client is taken note of, and says who calls.
    fn meet(&self, context: &RequestContext<RoleServer>) -> Caller {
        let client = context.client_info();
        self.member.meet(&context.peer, client.clone());
        Caller { client, meta: context.meta.clone() }
    }

    /// Runs a tool; `None` if there is none of this name.
    async fn call(&self, name: &str, call: &Call) -> Option<Answer> {
        let joined = match name {
            "mesh_checkin" => return Some(presence::checkin(&self.member, call).await),
            "mesh_checkout" => return Some(presence::checkout(&self.member).await),
            _ if self.get_tool(name).is_none() => return None,
            _ => self.member.joined(&call.caller).await,
        };
        let joined = match joined {
            Ok(joined) => joined,
            Err(failure) => return Some(Err(failure)),
        };
        Some(match name {
            "mesh_who" => presence::who(&joined, call).await,
            "mesh_send" => mail::send(&joined, call).await,
            "mesh_inbox" => mail::inbox(&joined, call).await,
            "mesh_remember" => memory::remember(&joined, call).await,
            "mesh_recall" => memory::recall(&joined, call).await,
            "mesh_lock" => locks::lock(&joined, call).await,
            "mesh_unlock" => unlock::unlock(&joined, call).await,
            "mesh_locks" => locks::locks(&joined, call).await,
            "mesh_events" => events::events(&joined, call).await,
            "mesh_status" => presence::status(&joined).await,
            _ => return None,
        })
    }

    /// The result of a tool that there is, with the news.
    async fn done(self, name: String, mut call: Call) -> Done {
        let answer = self.call(&name, &call).await.unwrap_or_else(|| Ok(String::new()));
        let content =
            |text: &str, reached| vec![ContentBlock::text(text.to_owned() + &self.member.footer(reached))];
        let result = match answer {
            Ok(text) => CallToolResult::success(content(&text, Reached::Yes)),
            Err(failure) => CallToolResult::error(content(failure.text(), Reached::Unknown)),
        };
        Done { result, showed: call.showed.take(), waiting: call.waiting.take() }
    }

    /// What a result shows that goes to its client now.
    async fn hand_over(&self, done: Done) -> CallToolResponse {
        if let Some(showed) = done.showed
            && let Some(joined) = self.member.present().await
        {
            joined.mail_shown(showed).await;
        }
        done.result.into()
    }

    /// How the agent is woken changes with the tasks in which it waits for mail.
    async fn tell_wake(&self) {
        if let Some(joined) = self.member.present().await {
            joined.tell_wake().await;
        }
    }
}

impl ServerHandler for Adapter {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder()
            .enable_tools()
            .enable_resources()
            .enable_resources_subscribe()
            .enable_tasks()
            .build();
        let mut info = ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("mesh", env!("CARGO_PKG_VERSION")))
            .with_instructions(schema::INSTRUCTIONS);
        if self.channel {
            let channel = (channel::CAPABILITY.to_owned(), JsonObject::new());
            info.capabilities.experimental = Some(BTreeMap::from([channel]));
            // The host tells its model.
            info.instructions = Some(format!("{} {}", schema::INSTRUCTIONS, schema::CHANNEL));
        }
        info
    }

    async fn initialize(
        &self,
        request: InitializeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        context.peer.set_peer_info(request.clone());
        self.meet(&context);
        self.negotiate_initialize(&request)
    }

    async fn discover(&self, context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        self.meet(&context);
        Ok(DiscoverResult::from_server_info(self.supported_protocol_versions().into_owned(), self.get_info()))
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(if self.legacy {
            ProtocolVersion::known_up_to(&ProtocolVersion::V_2025_11_25)
        } else {
            ProtocolVersion::KNOWN_VERSIONS
        })
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        self.meet(&context);
        Ok(ListToolsResult::with_all_items(self.tools.to_vec()).with_ttl_ms(LIST_TTL_MS))
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        self.tools.iter().find(|tool| tool.name == name).cloned()
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if self.get_tool(&request.name).is_none() {
            let names: Vec<_> = self.tools.iter().map(|tool| tool.name.as_ref()).collect();
            let message = format!("there is no tool {:?}; there are {}", request.name, names.join(", "));
            return Err(ErrorData::invalid_params(message, None));
        }
        let caller = self.meet(&context);
        let client = Client::of(&context, &self.member.agent(&caller).kind);
        let stop = CancellationToken::new();
        let call =
            Call::new(request.arguments, caller, client.patience(), stop.clone(), self.closing.clone());
        if !call.waits() {
            let done = self.clone().done(request.name.into(), call).await;
            return Ok(self.hand_over(done).await);
        }
        let work = Box::pin(self.clone().done(request.name.into(), call));
        match self.tasks.see_through(client, &context, work, stop).await {
            Outcome::Done(done) => Ok(self.hand_over(done).await),
            Outcome::Task(response) => {
                self.tell_wake().await;
                Ok(response)
            }
        }
    }

    async fn get_task(
        &self,
        request: GetTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetTaskResult, ErrorData> {
        let (task, mail) = self.tasks.get(&request.task_id)?;
        if let Some(mail) = mail
            && let Some(joined) = self.member.present().await
        {
            joined.woken_by_task(mail.showed).await;
        }
        if !matches!(task.payload, TaskPayload::Working) {
            self.tell_wake().await;
        }
        Ok(GetTaskResult::new(task))
    }

    async fn update_task(
        &self,
        request: UpdateTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.update(&request.task_id, request.input_responses)
    }

    async fn cancel_task(
        &self,
        request: CancelTaskParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.tasks.cancel(&request.task_id)
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        self.meet(&context);
        Ok(ListResourcesResult::with_all_items(vec![resource::listed()]).with_ttl_ms(LIST_TTL_MS))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        resource::known(&request.uri)?;
        let caller = self.meet(&context);
        resource::read(&self.member, &caller).await.map(Into::into)
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        resource::known(&request.uri)?;
        let caller = self.meet(&context);
        self.subscription.begin(Arc::clone(&self.member), caller, context.peer);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        resource::known(&request.uri)?;
        self.subscription.end();
        Ok(())
    }

    /// Of what there is, only the inbox ever changes; but clients that ask for more should not have to ask again.
    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        let mut accepted = requested.clone();
        if let Some(uris) = &mut accepted.resource_subscriptions {
            uris.retain(|uri| uri == resource::INBOX);
        }
        Some(accepted)
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let caller = self.meet(context.request_context());
        tokio::select! {
            () = context.cancelled() => {}
            () = self.closing.cancelled() => {}
            () = resource::told(&self.member, &caller, &context) => {}
        }
        Ok(())
    }
}

/// Serves one client until its requests end or `signal` comes, then leaves the mesh.
pub(crate) async fn serve<R, W>(
    adapter: Adapter,
    input: R,
    output: W,
    signal: impl Future<Output = ()>,
) -> anyhow::Result<()>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let member = adapter.member.clone();
    let (tasks, subscription) = (adapter.tasks.clone(), adapter.subscription.clone());
    let closing = adapter.closing.clone();
    let transport = (Watched::new(input, closing.clone()), output);
    let drained = async {
        closing.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    let served = async {
        match adapter.serve(transport).await {
            Ok(running) => running.waiting().await.map(drop).context("serving MCP failed"),
            // A client that goes away without a word is as good as one that says nothing more.
            Err(ServerInitializeError::ConnectionClosed(_)) => Ok(()),
            Err(error) => Err(error).context("the client does not speak MCP"),
        }
    };
    let outcome = tokio::select! {
        outcome = served => outcome,
        () = drained => Ok(()),
        () = signal => Ok(()),
    };
    tasks.end();
    subscription.end();
    member.end().await;
    outcome
}
