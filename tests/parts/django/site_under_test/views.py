"""Who is asking, a form with a file, and raw files up and down. Every page needs a user."""

import hashlib

from django.conf import settings
from django.http import FileResponse, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.middleware.csrf import get_token
from django.views.decorators.csrf import csrf_exempt

CHUNK = 1024 * 1024


def _signed_in(view):
    """Answers 403 without a user; it never sends anyone to a login page of Django's own."""

    def checked(request, *args, **kwargs):
        if not request.user.is_authenticated:
            return HttpResponse("no user", status=403, content_type="text/plain")
        return view(request, *args, **kwargs)

    return checked


@_signed_in
def who(request):
    """The user, and the identity headers that came with this request."""
    prefixes = ("HTTP_X_FORWARDED_", "HTTP_X_PORTCULLIS_", "HTTP_AUTHORIZATION", "HTTP_COOKIE")
    return JsonResponse(
        {
            "user": request.user.get_username(),
            "superuser": request.user.is_superuser,
            "secure": request.is_secure(),
            "headers": {name: value for name, value in request.META.items() if name.startswith(prefixes)},
        }
    )


@_signed_in
def upload_form(request):
    """A form that Django's own CSRF check protects; its answer is the digest of the file."""
    if request.method == "POST":
        digest = hashlib.sha256()
        for part in request.FILES["file"].chunks():
            digest.update(part)
        return HttpResponse(digest.hexdigest(), content_type="text/plain")
    page = (
        '<!doctype html><title>Upload</title><form method="post" enctype="multipart/form-data">'
        f'<input type="hidden" name="csrfmiddlewaretoken" value="{get_token(request)}">'
        '<input type="file" name="file"><button>Send</button></form>'
    )
    return HttpResponse(page)


@csrf_exempt
@_signed_in
def file(request, name):
    """PUT writes the raw body to a file as it comes, GET gives the file back byte for byte."""
    place = settings.STATE_DIR / name
    if request.method == "PUT":
        digest = hashlib.sha256()
        size = 0
        with place.open("wb") as target:
            while part := request.read(CHUNK):
                digest.update(part)
                size += len(part)
                target.write(part)
        return JsonResponse({"sha256": digest.hexdigest(), "bytes": size})
    if request.method == "GET":
        if not place.is_file():
            return HttpResponse("no such file", status=404, content_type="text/plain")
        return FileResponse(place.open("rb"), content_type="application/octet-stream")
    return HttpResponseNotAllowed(["GET", "PUT"])
