"""MQTT 5.0 with the clients people really use: mosquitto_pub, _sub and _rr, Paho, and mqtt.js."""

import json
import os
import shutil
import subprocess
import time
import unittest

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

from support import ROOT, Broker, wait_until

TIMEOUT_S = 10
NODE_MODULES = os.path.join(ROOT, "build", "npm", "node_modules")
FORMAT = "got %q %r %t %p|%C|%D|%E|%F|%P|%R|%S"


def run(program, broker, *arguments, check=True):
    host, port = broker.address
    return subprocess.run(
        [program, "-h", host, "-p", str(port), "-V", "mqttv5", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=check,
    )


class Subscriber:
    """mosquitto_sub for 5.0, subscribed when the constructor returns."""

    def __init__(self, broker, *arguments, form=FORMAT):
        host, port = broker.address
        self.process = subprocess.Popen(
            ["stdbuf", "-oL", "mosquitto_sub", "-d", "-h", host, "-p", str(port), "-V", "mqttv5"]
            + ["-W", str(TIMEOUT_S), "-F", form, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.seen = []
        for line in self.process.stdout:
            self.seen.append(line)
            if line.startswith("Subscribed"):
                return
        raise AssertionError(f"mosquitto_sub did not subscribe: {''.join(self.seen)}")

    def message(self):
        for line in self.process.stdout:
            self.seen.append(line)
            if line.startswith("got "):
                return line[4:].rstrip("\n")
        return None

    def stop(self):
        self.process.kill()
        self.process.stdout.close()
        self.process.wait(TIMEOUT_S)


def properties(packet_type, **values):
    made = Properties(packet_type)
    for name, value in values.items():
        setattr(made, name, value)
    return made


class Paho:
    """A Paho client of 5.0, connected when the constructor returns."""

    def __init__(self, broker, client_id, clean=True, will=None, **connect_properties):
        self.messages, self.subscribed, self.codes = [], {}, {}
        self.connack, self.left = None, None
        self.client = paho.Client(client_id, protocol=paho.MQTTv5)
        self.client.on_message = lambda _c, _u, message: self.messages.append(message)
        self.client.on_connect = self._connected
        self.client.on_subscribe = self._subscribed
        self.client.on_unsubscribe = self._unsubscribed
        self.client.on_publish = None
        self.client.on_disconnect = self._disconnected
        if will:
            self.client.will_set(**will)
        asked = properties(PacketTypes.CONNECT, **connect_properties)
        self.client.connect(
            *broker.address, keepalive=60, clean_start=clean, properties=asked
        )
        self.client.loop_start()
        assert wait_until(lambda: self.connack is not None, TIMEOUT_S), "Paho: no CONNACK"

    def _connected(self, _client, _userdata, flags, reason, props):
        self.connack = (reason.value, bool(flags["session present"]), props)

    def _subscribed(self, _client, _userdata, mid, codes, _props):
        self.subscribed[mid] = [code.value for code in codes]

    def _unsubscribed(self, _client, _userdata, mid, _props, codes):
        codes = codes if isinstance(codes, list) else [codes]
        self.subscribed[mid] = [code.value for code in codes]

    def _disconnected(self, _client, _userdata, reason, _props=None):
        self.left = getattr(reason, "value", reason)

    def subscribe(self, filters, **values):
        props = properties(PacketTypes.SUBSCRIBE, **values) if values else None
        _, mid = self.client.subscribe(filters, properties=props)
        assert wait_until(lambda: mid in self.subscribed, TIMEOUT_S), "Paho: no SUBACK"
        return self.subscribed[mid]

    def unsubscribe(self, filters):
        _, mid = self.client.unsubscribe(filters)
        assert wait_until(lambda: mid in self.subscribed, TIMEOUT_S), "Paho: no UNSUBACK"
        return self.subscribed[mid]

    def publish(self, topic, payload, qos=0, retain=False, **values):
        props = properties(PacketTypes.PUBLISH, **values)
        self.client.publish(topic, payload, qos, retain, props).wait_for_publish(TIMEOUT_S)

    def wait(self, count):
        wait_until(lambda: len(self.messages) >= count, TIMEOUT_S)
        return self.messages

    def vanish(self):
        self.client.loop_stop()
        self.client._sock_close()

    def leave(self):
        self.client.disconnect()
        self.client.loop_stop()


class V5Test(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.broker = Broker().start()

    @classmethod
    def tearDownClass(cls):
        cls.broker.stop()

    def sub(self, *arguments, **options):
        subscriber = Subscriber(self.broker, *arguments, **options)
        self.addCleanup(subscriber.stop)
        return subscriber

    def paho(self, *arguments, **options):
        client = Paho(self.broker, *arguments, **options)
        self.addCleanup(client.leave)
        return client


class MosquittoClients(V5Test):
    def test_properties_pass_at_every_qos(self):
        """What -D gives to mosquitto_pub comes out of mosquitto_sub, at each QoS, with the
        identifier of the subscription."""
        subscriber = self.sub(
            *("-t", "p/#", "-q", "2", "-D", "SUBSCRIBE", "subscription-identifier", "77")
        )
        for qos in "012":
            run(
                *("mosquitto_pub", self.broker, "-t", "p/t", "-m", f"m{qos}", "-q", qos),
                *("-D", "PUBLISH", "content-type", "text/plain"),
                *("-D", "PUBLISH", "correlation-data", "c0"),
                *("-D", "PUBLISH", "message-expiry-interval", "2147483647"),
                *("-D", "PUBLISH", "payload-format-indicator", "1"),
                *("-D", "PUBLISH", "user-property", "name", "value"),
                *("-D", "PUBLISH", "response-topic", "a/b"),
            )
            self.assertEqual(
                subscriber.message(),
                f"{qos} 0 p/t m{qos}|text/plain|c0|2147483647|1|name:value|a/b|77",
            )

    def test_many_lines_come_under_an_alias(self):
        """A thousand lines of a publisher that says its topic once."""
        subscriber = self.sub("-t", "al/#", "-q", "1", form="got %t %p")
        lines = [f"line {i}" for i in range(1000)]
        host, port = self.broker.address
        subprocess.run(
            ["mosquitto_pub", "-h", host, "-p", str(port), "-V", "mqttv5", "-t", "al/t", "-l"]
            + ["-q", "1", "-D", "PUBLISH", "topic-alias", "4"],
            input="\n".join(lines).encode(),
            timeout=TIMEOUT_S,
            check=True,
        )
        self.assertEqual(
            [subscriber.message() for _ in lines], [f"al/t {line}" for line in lines]
        )

    def test_a_request_is_answered(self):
        """mosquitto_rr asks with response topic and correlation data; who answers gets both."""
        service = self.paho("service")

        def answer(client, _userdata, message):
            reply = properties(
                PacketTypes.PUBLISH, CorrelationData=message.properties.CorrelationData
            )
            client.publish(
                message.properties.ResponseTopic, b"re: " + message.payload, 1, properties=reply
            )

        service.client.on_message = answer
        service.subscribe("service/echo", SubscriptionIdentifier=3)
        got = run(
            *("mosquitto_rr", self.broker, "-t", "service/echo", "-e", "answers/to/me"),
            *("-D", "PUBLISH", "correlation-data", "c0rr", "-m", "question", "-q", "1"),
            *("-F", "%p %D", "-W", str(TIMEOUT_S)),
        )
        self.assertEqual(got.stdout.strip(), "re: question c0rr")

    def test_a_retained_message_as_it_was_published(self):
        """--retain-as-published is per subscription."""
        run("mosquitto_pub", self.broker, "-t", "k/a", "-m", "old", "-r")
        exact = self.sub("-t", "k/#", "--retain-as-published", form="got %r %p")
        plain = self.sub("-t", "k/#", form="got %r %p")
        self.assertEqual([exact.message(), plain.message()], ["1 old", "1 old"])
        run("mosquitto_pub", self.broker, "-t", "k/a", "-m", "new", "-r")
        self.assertEqual([exact.message(), plain.message()], ["1 new", "0 new"])

    def test_a_message_expires_and_counts_down(self):
        for seconds, topic in (("1", "x/short"), ("100", "x/long")):
            run(
                *("mosquitto_pub", self.broker, "-t", topic, "-m", "m", "-r"),
                *("-D", "PUBLISH", "message-expiry-interval", seconds),
            )
        time.sleep(2.2)
        late = self.sub("-t", "x/#", "-C", "1", form="got %t %E")
        topic, left = late.message().split(" ")
        self.assertEqual(topic, "x/long")
        self.assertLess(int(left), 99)
        self.assertGreater(int(left), 90)

    def test_a_will_with_properties(self):
        watcher = self.sub("-t", "w/#", "-q", "1", form="got %t %p %C %P")
        dying = self.sub(
            *("-t", "nothing", "--will-topic", "w/1", "--will-payload", "gone"),
            *("-D", "WILL", "content-type", "text", "-D", "WILL", "user-property", "a", "b"),
        )
        dying.process.kill()
        self.assertEqual(watcher.message(), "w/1 gone text a:b")

    def test_reasons_reach_the_user(self):
        """$SYS may not be written, an alias may be too high: the tools say so and fail."""
        refused = run(
            "mosquitto_pub", self.broker, "-t", "$SYS/x", "-m", "m", "-q", "1", check=False
        )
        self.assertIn("Not authorized", refused.stderr + refused.stdout)
        nobody = run("mosquitto_pub", self.broker, "-d", "-t", "nobody", "-m", "m", "-q", "1")
        self.assertIn("RC:16", nobody.stdout + nobody.stderr)


class PahoClient(V5Test):
    def test_connack_says_what_the_server_can(self):
        client = self.paho("", clean=True)
        code, present, props = client.connack
        self.assertEqual((code, present), (0, False))
        self.assertTrue(props.AssignedClientIdentifier)
        self.assertGreater(props.ReceiveMaximum, 0)
        self.assertGreater(props.TopicAliasMaximum, 0)
        self.assertGreater(props.MaximumPacketSize, 0)

    def test_properties_come_through_in_order(self):
        reader = self.paho("reader")
        self.assertEqual(reader.subscribe("o/#", SubscriptionIdentifier=268435455), [0])
        writer = self.paho("writer")
        pairs = [("z", "1"), ("a", "2"), ("z", "1")]
        writer.publish("o/1", b"x", UserProperty=pairs, CorrelationData=b"\0\xff", ContentType="c")
        message = reader.wait(1)[0]
        self.assertEqual(message.properties.UserProperty, pairs)
        self.assertEqual(message.properties.CorrelationData, b"\0\xff")
        self.assertEqual(message.properties.ContentType, "c")
        self.assertEqual(message.properties.SubscriptionIdentifier, [268435455])

    def test_subscription_options_and_codes(self):
        client = self.paho("options")
        own = SubscribeOptions(qos=2, noLocal=True)
        others = SubscribeOptions(qos=1, retainAsPublished=True)
        self.assertEqual(client.subscribe([("s/own", own), ("s/other", others)]), [2, 1])
        client.publish("s/own", b"mine", 1)
        client.publish("s/other", b"kept", 1, retain=True)
        messages = client.wait(1)
        self.assertEqual([(m.topic, bool(m.retain)) for m in messages], [("s/other", True)])
        self.assertEqual(client.unsubscribe(["s/own", "s/never"]), [0, 17])

    def test_retain_handling(self):
        """0 sends what is kept, 1 only to a new subscription, 2 never."""
        self.paho("keeper").publish("h/1", b"kept", retain=True)
        client = self.paho("handling")

        def old():
            return sum(m.topic == "h/1" for m in client.messages)

        for round_, (handling, count) in enumerate(((2, 0), (1, 0), (0, 1), (1, 1), (0, 2))):
            client.subscribe(("h/#", SubscribeOptions(retainHandling=handling)))
            client.publish("h/live", b"-")  # comes behind whatever was kept
            wait_until(lambda: len(client.messages) - old() == round_ + 1, TIMEOUT_S)
            self.assertEqual(old(), count)
        client.unsubscribe("h/#")
        client.subscribe(("h/#", SubscribeOptions(retainHandling=1)))
        wait_until(lambda: old() == 3, TIMEOUT_S)
        self.assertEqual(old(), 3)

    def test_a_session_waits_as_long_as_it_was_asked_to(self):
        first = Paho(self.broker, "sleeper", clean=True, SessionExpiryInterval=60)
        first.subscribe(("d/#", SubscribeOptions(qos=2)), SubscriptionIdentifier=5)
        first.vanish()
        writer = self.paho("w2")
        for number in range(50):
            writer.publish(f"d/{number % 3}", str(number), qos=number % 2 + 1)
        back = self.paho("sleeper", clean=False, SessionExpiryInterval=60)
        self.assertEqual(back.connack[:2], (0, True))
        got = [(m.qos, int(m.payload)) for m in back.wait(50)]
        for qos in (1, 2):  # QoS 2 comes to its callback later
            self.assertEqual(
                [number for q, number in got if q == qos], list(range(qos - 1, 50, 2))
            )
        self.assertTrue(all(m.properties.SubscriptionIdentifier == [5] for m in back.messages))

    def test_a_small_receiver_gets_what_fits(self):
        small = self.paho("small", MaximumPacketSize=100, ReceiveMaximum=1)
        small.subscribe("m/#", SubscriptionIdentifier=1)
        small.subscribe(("m/#", SubscribeOptions(qos=1)))
        writer = self.paho("w3")
        for number in range(20):
            size = 10 if number % 2 == 0 else 200
            writer.publish("m/t", bytes([number]) * size, qos=1)
        self.assertEqual([m.payload[0] for m in small.wait(10)], list(range(0, 20, 2)))

    def test_taken_over_is_said(self):
        first = self.paho("twice")
        second = self.paho("twice")
        self.assertTrue(wait_until(lambda: first.left is not None, TIMEOUT_S))
        self.assertEqual(first.left, 0x8E)
        first.client.loop_stop()
        self.assertEqual(second.connack[0], 0)


class MqttJs(V5Test):
    def test_mqtt_js_talks_to_the_broker(self):
        """Properties, options, aliases both ways, a will, a takeover and a refusal with mqtt.js."""
        if shutil.which("node") is None:
            self.skipTest("node is not installed")
        if not os.path.isdir(os.path.join(NODE_MODULES, "mqtt")):
            self.skipTest("mqtt.js is not in build/npm: scripts/deps test installs it, with npm")
        script = os.path.join(ROOT, "tests", "e2e", "mqttjs_client.js")
        done = subprocess.run(
            ["node", script, str(self.broker.port)],
            env={**os.environ, "NODE_PATH": NODE_MODULES},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=3 * TIMEOUT_S,
            check=False,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        seen = [json.loads(line) for line in done.stdout.splitlines()]
        kinds = {}
        for one in seen:
            kinds.setdefault(one.pop("kind"), []).append(one)
        self.assertEqual(kinds["granted"], [{"granted": [["js/#", 2]]}])
        messages = kinds["message"]
        self.assertEqual(
            [(m["payload"], m["qos"], m["retain"]) for m in messages],
            [
                ("m0", 0, False),
                ("m1", 1, True),
                ("m2", 2, False),
                ("again", 0, False),
                ("gone", 1, False),
            ],
        )
        # The first says its topic, the others come under its alias.
        self.assertEqual([m["topic"] for m in messages], ["js/one", "", "", "", "js/will"])
        for message in messages[:3]:
            props = message["properties"]
            self.assertEqual(props["topicAlias"], 1)
            self.assertEqual(props["subscriptionIdentifier"], 42)
            self.assertEqual(props["messageExpiryInterval"], 60)
            self.assertEqual(props["contentType"], "text/plain")
            self.assertEqual(props["responseTopic"], "js/answers")
            self.assertEqual(props["correlationData"], "00ff0a")
            self.assertEqual(props["userProperties"], {"a": ["1", "2"], "b": "3"})
        self.assertEqual(messages[4]["properties"]["userProperties"], {"why": "cut"})
        self.assertEqual(kinds["taken over"], [{"reason": 0x8E}])
        self.assertEqual(kinds["refused"], [{"code": 0x8C}])


if __name__ == "__main__":
    unittest.main()
