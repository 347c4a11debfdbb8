// mqtt.js against the broker at 127.0.0.1:PORT.  Prints one JSON line for each thing it saw;
// v5_clients_test.py compares.  Run with NODE_PATH set to where `mqtt` is.
"use strict";
const mqtt = require("mqtt");
const port = process.argv[2];

const print = (kind, rest) => console.log(JSON.stringify({ kind, ...rest }));
const connect = (options) =>
    mqtt.connectAsync({ host: "127.0.0.1", port, protocolVersion: 5, reconnectPeriod: 0, ...options });

function plain(packet) {
    const p = { ...packet.properties };
    if (p.correlationData) p.correlationData = p.correlationData.toString("hex");
    if (p.userProperties) p.userProperties = { ...p.userProperties };
    return { topic: packet.topic, payload: packet.payload.toString(), qos: packet.qos,
             retain: packet.retain, properties: p };
}

async function main() {
    const messages = [];
    let wake = () => {};
    const reader = await connect({ clientId: "js-reader", properties: { topicAliasMaximum: 5 } });
    reader.on("packetreceive", (packet) => {
        if (packet.cmd !== "publish") return;
        messages.push(plain(packet));
        wake();
    });
    const wait = async (count) => {
        while (messages.length < count) await new Promise((done) => { wake = done; });
    };
    const granted = await reader.subscribeAsync(
        { "js/#": { qos: 2, rap: true, nl: true } }, { properties: { subscriptionIdentifier: 42 } });
    print("granted", { granted: granted.map((g) => [g.topic, g.qos]) });

    const writer = await connect({
        clientId: "js-writer", autoAssignTopicAlias: true,
        will: { topic: "js/will", payload: "gone", qos: 1, retain: false,
                properties: { contentType: "text/plain", userProperties: { why: "cut" } } } });
    const options = {
        properties: { payloadFormatIndicator: true, messageExpiryInterval: 60,
                      contentType: "text/plain", responseTopic: "js/answers",
                      correlationData: Buffer.from([0, 255, 10]),
                      userProperties: { a: ["1", "2"], b: "3" } } };
    for (const qos of [0, 1, 2]) {
        await writer.publishAsync("js/one", `m${qos}`, { qos, retain: qos === 1, ...options });
        await wait(qos + 1);
    }
    await writer.publishAsync("js/one", "again", { qos: 0 });
    await wait(4);
    await reader.publishAsync("js/own", "not local", { qos: 1 });
    writer.stream.destroy();
    await wait(5);
    for (const message of messages) print("message", message);

    const codes = await reader.unsubscribeAsync(["js/#", "js/never"]);
    print("unsubscribed", { codes: codes && codes.granted ? codes.granted : codes });
    const second = connect({ clientId: "js-reader" });
    const farewell = new Promise((done) => reader.on("disconnect", done));
    print("taken over", { reason: (await farewell).reasonCode });
    await (await second).endAsync();
    await connect({ clientId: "js-method", properties: { authenticationMethod: "none" } })
        .then(() => print("refused", { code: 0 }), (error) => print("refused", { code: error.code }));
}

main().then(() => process.exit(0), (error) => {
    console.error(error);
    process.exit(1);
});
