"""Who is asking, as the gateway says it."""

from django.contrib.auth.middleware import RemoteUserMiddleware


class GatewayUserMiddleware(RemoteUserMiddleware):
    """Reads the header of the gateway's default identity preset instead of the server's REMOTE_USER."""

    header = "HTTP_X_FORWARDED_PREFERRED_USERNAME"
