"""What the workflows of GitHub and GitLab share: all of theirs that takes more than a line."""
