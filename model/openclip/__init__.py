"""What `model.openclip_embedder` is made of: names and files, preprocessing, torchvision's missing operators."""
