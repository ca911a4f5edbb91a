"""django-anymail with PostgreSQL: a webhook view of anymail that reads suppressd's generic format, and
a receiver of its signal that stores each event and each suppression before the answer.

Run by gunicorn; DATABASE names the database, SOCKETS the folder of PostgreSQL's socket.
"""

import datetime
import hmac
import json
import os

import django
from django.conf import settings

settings.configure(
    SECRET_KEY="bench",
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["anymail"],
    # It says how long an answer is, so that connections are kept.
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    ANYMAIL={"WEBHOOK_SECRET": "bench:secret"},
    USE_TZ=True,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": os.environ["DATABASE"],
            "HOST": os.environ["SOCKETS"],
            "CONN_MAX_AGE": None,
        }
    },
)
django.setup()

from anymail.exceptions import AnymailWebhookValidationFailure  # noqa: E402
from anymail.signals import AnymailTrackingEvent, EventType, RejectReason, tracking  # noqa: E402
from anymail.webhooks.base import AnymailCoreWebhookView  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.db import connection, transaction  # noqa: E402
from django.dispatch import receiver  # noqa: E402
from django.urls import path  # noqa: E402

with connection.cursor() as cursor:
    cursor.execute("SELECT pg_advisory_lock(1)")
    cursor.execute(
        "CREATE TABLE IF NOT EXISTS anymail_events"
        " (id TEXT PRIMARY KEY, kind TEXT, at TIMESTAMPTZ, recipient TEXT, reason TEXT)"
    )
    cursor.execute(
        "CREATE TABLE IF NOT EXISTS anymail_suppressions (recipient TEXT PRIMARY KEY, since TIMESTAMPTZ)"
    )
    cursor.execute("SELECT pg_advisory_unlock(1)")


class Generic(AnymailCoreWebhookView):
    esp_name = "Generic"
    signal = tracking

    def validate_request(self, request):
        expected = hmac.new(b"bench-secret", request.body, "sha256").hexdigest()
        if not hmac.compare_digest(expected, request.headers.get("x-webhook-signature", "")):
            raise AnymailWebhookValidationFailure("signature")

    def parse_events(self, request):
        told = json.loads(request.body)
        return [
            AnymailTrackingEvent(
                event_type=EventType.BOUNCED,
                timestamp=datetime.datetime.fromisoformat(event["timestamp"]),
                message_id=event["message_id"],
                event_id=event["message_id"],
                recipient=event["recipient"],
                reject_reason=RejectReason.BOUNCED,
                mta_response=event["reason"],
                esp_event=event,
            )
            for event in (told if isinstance(told, list) else [told])
        ]


@receiver(tracking)
def store(sender, event, esp_name, **kwargs):
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO anymail_events VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
            [event.event_id, event.event_type, event.timestamp, event.recipient, event.mta_response],
        )
        cursor.execute(
            "INSERT INTO anymail_suppressions VALUES (%s, %s) ON CONFLICT DO NOTHING",
            [event.recipient, event.timestamp],
        )


urlpatterns = [path("hooks/bench", Generic.as_view())]
application = get_wsgi_application()
