"""MobileNet V2 and V3, in a package of their own as in TF-Slim."""
