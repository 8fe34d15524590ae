"""Plans of several settings at once, for laboratories that change settings rarely."""
