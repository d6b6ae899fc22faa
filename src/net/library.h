/* SPDX-License-Identifier: MIT
 *
 * net/library.h - the engine's client library, libnats, loaded when the first networked space is opened.
 *
 * Programs that stay on one machine neither need it nor load it (and with it the TLS library).  Its functions are
 * called through one table: `fi_nats.natsConnection_Publish(...)`; types and constants are those of <nats/nats.h>.
 */
#ifndef FI_NET_LIBRARY_H
#define FI_NET_LIBRARY_H

#include <nats/nats.h>

#define FI_SUBJECT_MAX 256u /* longest subject that is used, with its end */

/* clang-format off */
#define FI_NATS_FUNCTIONS(X) \
    X(nats_Open) X(nats_GetLastError) X(natsStatus_GetText) X(natsOptions_Create) X(natsOptions_Destroy) \
    X(natsOptions_SetServers) X(natsOptions_SetName) X(natsOptions_SetSendAsap) \
    X(natsOptions_SetAllowReconnect) X(natsOptions_SetMaxReconnect) X(natsOptions_SetReconnectWait) \
    X(natsOptions_SetCustomReconnectDelay) X(natsOptions_SetPingInterval) X(natsOptions_SetMaxPingsOut) \
    X(natsOptions_SetIOBufSize) X(natsOptions_SetWriteDeadline) X(natsOptions_SetTimeout) \
    X(natsOptions_SetReconnectBufSize) X(natsOptions_SetErrorHandler) X(natsOptions_SetDisconnectedCB) \
    X(natsOptions_SetReconnectedCB) X(natsOptions_SetClosedCB) X(natsOptions_SetSecure) \
    X(natsOptions_LoadCATrustedCertificates) X(natsOptions_LoadCertificatesChain) \
    X(natsOptions_SetExpectedHostname) X(natsOptions_SetUserInfo) X(natsOptions_SetToken) \
    X(natsOptions_SetUserCredentialsFromFiles) X(natsOptions_SetFailRequestsOnDisconnect) \
    X(natsOptions_SetNoEcho) X(natsOptions_SetEventLoop) X(natsConnection_Connect) X(natsConnection_Close) \
    X(natsConnection_Destroy) \
    X(natsConnection_Status) X(natsConnection_GetMaxPayload) X(natsConnection_GetRTT) \
    X(natsConnection_GetStats) X(natsStatistics_Create) X(natsStatistics_GetCounts) X(natsStatistics_Destroy) \
    X(natsConnection_GetConnectedUrl) X(natsConnection_GetConnectedServerId) X(natsConnection_GetLastError) \
    X(natsConnection_Publish) X(natsConnection_PublishRequest) X(natsConnection_PublishMsg) \
    X(natsConnection_ProcessReadEvent) X(natsConnection_ProcessWriteEvent) \
    X(natsConnection_FlushTimeout) X(natsConnection_Request) X(natsConnection_Subscribe) \
    X(natsConnection_SubscribeSync) X(natsConnection_QueueSubscribe) X(natsConnection_JetStream) \
    X(natsSubscription_NextMsg) X(natsSubscription_Unsubscribe) X(natsSubscription_Destroy) \
    X(natsSubscription_SetPendingLimits) X(natsSubscription_DrainTimeout) X(natsSubscription_DrainCompletionStatus) \
    X(natsSubscription_WaitForDrainCompletion) X(natsSubscription_SetOnCompleteCB) X(natsInbox_Create) \
    X(natsInbox_Destroy) X(natsMsg_Create) X(natsMsg_Destroy) X(natsMsg_GetData) X(natsMsg_GetDataLength) \
    X(natsMsg_GetSubject) X(natsMsg_GetReply) X(natsMsg_IsNoResponders) X(natsMsg_GetMetaData) \
    X(natsMsgHeader_Set) X(natsMsgHeader_Get) X(jsCtx_Destroy) X(jsOptions_Init) \
    X(jsPubOptions_Init) X(jsSubOptions_Init) X(jsStreamConfig_Init) X(js_AddStream) X(js_DeleteStream) \
    X(js_PurgeStream) X(js_GetStreamInfo) X(jsStreamInfo_Destroy) X(js_StreamNames) \
    X(jsStreamNamesList_Destroy) X(js_Publish) X(js_PublishMsg) X(jsPubAck_Destroy) \
    X(js_SubscribeSync) X(jsMsgMetaData_Destroy) X(js_GetAccountInfo) X(jsAccountInfo_Destroy)
/* clang-format on */

typedef struct fi_nats {
#define FI_NATS_MEMBER(name) __typeof__(&name) name;
    FI_NATS_FUNCTIONS(FI_NATS_MEMBER)
#undef FI_NATS_MEMBER
} fi_nats_t;

extern fi_nats_t fi_nats;

/* Loads the library, once in a process; any thread. -ENOPKG: it is not installed, or lacks a function; -ECHILD a parent
 * has loaded it: its threads are not in this process. The sentence says what to do. */
int fi_nats_load(void);

#endif
