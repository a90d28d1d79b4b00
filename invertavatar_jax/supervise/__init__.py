"""What training compares: images, masks, features."""
