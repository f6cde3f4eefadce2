"""The pages: the admin site, who is asking, and files up and down."""

from django.contrib import admin
from django.urls import path

from . import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("who", views.who),
    path("upload", views.upload_form),
    path("files/<slug:name>", views.file),
]
