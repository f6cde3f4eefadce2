"""Makes the database and the superuser alice, serves on a free port and prints one line: ready http://127.0.0.1:PORT."""

import logging
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site_under_test.settings")

import django
from django.core.management import call_command
from waitress.server import create_server

django.setup()

from django.contrib.auth import get_user_model

from site_under_test.wsgi import application


def main():
    logging.basicConfig(level=logging.WARNING)
    call_command("migrate", verbosity=0, interactive=False)
    users = get_user_model().objects
    if not users.filter(username="alice").exists():
        # No password: the gateway alone can sign her in.
        users.create_superuser("alice", "alice@example.com", None)
    # The gateway is the one proxy that may say which scheme a browser used; the server drops that header from anyone else.
    server = create_server(
        application,
        host="127.0.0.1",
        port=0,
        threads=4,
        trusted_proxy="127.0.0.1",
        trusted_proxy_headers={"x-forwarded-proto"},
        clear_untrusted_proxy_headers=True,
    )
    print(f"ready http://127.0.0.1:{server.effective_port}", flush=True)
    server.run()


if __name__ == "__main__":
    main()
